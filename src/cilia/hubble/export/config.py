"""What is to be exported: one log from settings, more from a YAML file.

Source:
    Cilium's documentation, "Configuring Hubble exporter".
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict, ParseError

from cilia.hubble.proto.flow import flow_pb2

Json = Any
Filter = dict[str, Any]

STDOUT = "stdout"
STATIC = "static"
"""The name of the log that settings describe."""
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")


class ExportConfigError(ValueError):
    """A description of a log that cannot be followed; says which log, field and why."""


class ExportLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One log."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    file_path: Annotated[str, msgspec.Meta(min_length=1)]
    """Or `stdout`."""
    field_mask: tuple[str, ...] = ()
    """Fields of flow.Flow that are written; empty: all."""
    field_aggregate: tuple[str, ...] = ()
    """Flows that agree in these fields are counted, and written once an interval."""
    aggregation_interval: str = ""
    """As in `30s`."""
    include_filters: tuple[Filter, ...] = ()
    """flow.FlowFilter each; a flow must match one, if there are any."""
    exclude_filters: tuple[Filter, ...] = ()
    """A flow must match none."""
    file_max_size_mb: Annotated[int, msgspec.Meta(ge=0)] = 10
    """In MiB; 0: never rotated."""
    file_max_backups: Annotated[int, msgspec.Meta(ge=0)] = 5
    """0: all are kept."""
    file_compress: bool = False
    end: datetime | None = None
    """Nothing is written from then on."""

    @property
    def interval_s(self) -> float:
        """Seconds between the lines of an aggregate; 0: flows are written one by one."""
        return duration_s(self.aggregation_interval) if self.aggregation_interval else 0.0

    def is_over(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.end is not None and self.end <= now


class FlowLogs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The YAML file."""

    flow_logs: tuple[ExportLog, ...] = ()


def duration_s(text: str) -> float:
    """Seconds of a duration as Go writes it.

    Raises:
        ValueError: It is none.

    >>> duration_s("1m30s")
    90.0
    """
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration; write 30s, 1m30s or 500ms")
    return float(sum(float(number) * UNITS[unit] for number, unit in parts))


def parse_flow_logs(text: bytes) -> tuple[ExportLog, ...]:
    """The logs of a YAML file.

    Raises:
        ExportConfigError: It is not what it must be; names the log and the field.
    """
    try:
        plain = msgspec.to_builtins(msgspec.yaml.decode(text or b"{}"))  # times as text
        logs = msgspec.convert(plain, FlowLogs).flow_logs
    except (msgspec.DecodeError, ValueError) as error:
        raise ExportConfigError(str(error)) from error
    check_logs(logs)
    return logs


def check_logs(logs: tuple[ExportLog, ...]) -> None:
    """Raises ExportConfigError when one log is wrong, or two get into each other's way."""
    for what, values in (
        ("name", [log.name for log in logs]),
        ("filePath", [log.file_path for log in logs]),
    ):
        doubled = sorted({value for value in values if values.count(value) > 1})
        if doubled:
            raise ExportConfigError(f"{what} {doubled[0]!r} is there twice; it must be unique")
    for log in logs:
        _check(log)


def _check(log: ExportLog) -> None:
    place = f"flow log {log.name!r}"
    if log.file_path != STDOUT and not log.file_path.startswith("/"):
        raise ExportConfigError(f"{place}: filePath {log.file_path!r} is not absolute")
    if log.end is not None and log.end.tzinfo is None:
        raise ExportConfigError(f"{place}: end has no time zone; write 2026-01-31T12:00:00Z")
    for field, paths in (("fieldMask", log.field_mask), ("fieldAggregate", log.field_aggregate)):
        for path in paths:
            if not FieldMask(paths=[path]).IsValidForDescriptor(flow_pb2.Flow.DESCRIPTOR):
                raise ExportConfigError(f"{place}: {field} {path!r}: flow.Flow has no such field")
    try:
        interval_s = log.interval_s
        for one in (*log.include_filters, *log.exclude_filters):
            flow_filter(one)
    except ValueError as error:
        raise ExportConfigError(f"{place}: {error}") from error
    if bool(log.field_aggregate) != (interval_s > 0):
        raise ExportConfigError(
            f"{place}: fieldAggregate and aggregationInterval are set together or not at all"
        )


def flow_filter(fields: Filter) -> flow_pb2.FlowFilter:
    """The message of a filter as JSON.

    Raises:
        ExportConfigError: It is none.
    """
    try:
        return ParseDict(fields, flow_pb2.FlowFilter())
    except ParseError as error:
        raise ExportConfigError(f"filter {json.dumps(fields)}: {error}") from error


def parse_filters(text: str) -> tuple[Filter, ...]:
    """The filters of a setting: JSON objects with space between them.

    Raises:
        ExportConfigError: There is something else.
    """
    decoder, found, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError as error:
            raise ExportConfigError(f"filters {rest[:40]!r}: {error}") from error
        if not isinstance(value, dict):
            raise ExportConfigError(f"filters {rest[:40]!r}: not a JSON object")
        found.append(value)
        rest = rest[end:].lstrip()
    return tuple(found)


def now() -> datetime:
    """The present, with its time zone."""
    return datetime.now(UTC)
