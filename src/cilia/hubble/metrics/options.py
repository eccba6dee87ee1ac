"""What is counted and with which labels: Cilium's `hubble-metrics` list and its dynamic file.

    drop:sourceContext=pod|ip;destinationContext=pod      one word of the list

    metrics:                                              the same in the file
    - name: drop
      contextOptions:
      - {name: sourceContext, values: [pod, ip]}
      - {name: destinationContext, values: [pod]}
      excludeFilters:
      - event_type: [{type: 5}]

Source:
    https://docs.cilium.io/en/stable/observability/metrics/#hubble-exported-metrics
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import yaml
from google.protobuf.json_format import ParseDict, ParseError

from cilia.hubble.proto.flow import flow_pb2
from cilia.model.errors import InvalidValue

Json = Any

FILE_BYTES = 1 << 20
"""A file of metrics is never as large."""
LABELS_CONTEXT = "labelscontext"


class MetricsConfigError(InvalidValue):
    """What is to be counted cannot be understood; says where, what and the remedy."""


class MetricConfig(msgspec.Struct, frozen=True):
    """One handler as it is wanted."""

    name: str
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Names in lower case, with their values; sorted."""
    include: tuple[flow_pb2.FlowFilter, ...] = ()
    """Count what passes one of these; empty: everything."""
    exclude: tuple[flow_pb2.FlowFilter, ...] = ()


def parse_metrics(text: str) -> tuple[MetricConfig, ...]:
    """The handlers of a list in one line, split by spaces.

    Raises:
        MetricsConfigError: An option has no name.

    >>> parse_metrics("tcp drop:sourceContext=pod|ip")[1].options
    (('sourcecontext', ('pod', 'ip')),)
    """
    return tuple(_parse_word(word) for word in text.split())


def _parse_word(word: str) -> MetricConfig:
    name, _, rest = word.partition(":")
    found: dict[str, tuple[str, ...]] = {}
    for part in filter(None, rest.split(";")):
        option, _, value = part.partition("=")
        if not option:
            raise MetricsConfigError(
                f"hubble-metrics {word!r}: an option has no name; write NAME:OPTION=VALUE;…"
            )
        by = "," if option.lower() == LABELS_CONTEXT else "|"
        found[option.lower()] = tuple(filter(None, value.split(by)))
    return MetricConfig(name, tuple(sorted(found.items())))


class _Option(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    values: tuple[str, ...] = ()


class _Metric(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    name: str
    context_options: tuple[_Option, ...] = ()
    include_filters: tuple[dict[str, Json], ...] = ()
    exclude_filters: tuple[dict[str, Json], ...] = ()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    metrics: tuple[_Metric, ...] | None = ()


def parse_file(text: str, where: str) -> tuple[MetricConfig, ...]:
    """The handlers of a dynamic configuration.

    Args:
        text: YAML.
        where: The file's name, for errors.

    Raises:
        MetricsConfigError: It is not what it should be.
    """
    if len(text) > FILE_BYTES:
        raise MetricsConfigError(f"{where}: larger than {FILE_BYTES} bytes; write fewer filters")
    try:
        data = yaml.safe_load(text)
    except RecursionError as error:
        raise MetricsConfigError(f"{where}: nested too deep; write it flatter") from error
    except yaml.YAMLError as error:
        raise MetricsConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    try:
        file = msgspec.convert(data if data is not None else {}, _File)
    except msgspec.ValidationError as error:
        raise MetricsConfigError(
            f"{where}: {error}; each of `metrics` has name, contextOptions (name, values), "
            "includeFilters and excludeFilters"
        ) from error
    return tuple(
        MetricConfig(
            one.name,
            tuple(sorted((option.name.lower(), option.values) for option in one.context_options)),
            _filters(one.include_filters, f"{where}: metrics[{at}].includeFilters"),
            _filters(one.exclude_filters, f"{where}: metrics[{at}].excludeFilters"),
        )
        for at, one in enumerate(file.metrics or ())
    )


def _filters(entries: Iterable[dict[str, Json]], where: str) -> tuple[flow_pb2.FlowFilter, ...]:
    found = []
    for at, entry in enumerate(entries):
        try:
            found.append(ParseDict(entry, flow_pb2.FlowFilter()))
        except ParseError as error:
            raise MetricsConfigError(
                f"{where}[{at}]: {error}; write a flow filter as in `hubble observe --whitelist`"
            ) from error
    return tuple(found)
