"""`cilia metrics`: what the agent counts, without a Prometheus.

Values come from `GET /v1/metrics`, and are those that a scrape would get.
"""

import re
from collections.abc import Sequence
from typing import Any

import click

from cilia.cli.errors import ClientError
from cilia.cli.grammar import AliasGroup, agent, output_option
from cilia.cli.output import emit, table

Json = dict[str, Any]

QUANTILES = (0.5, 0.9, 0.99)
_ENDINGS = ("_bucket", "_count", "_sum")


@click.group(cls=AliasGroup)
def metrics() -> None:
    """What the agent counts."""


@metrics.command("list")
@click.option("-p", "--match-pattern", default="", metavar="REGEX", help="only names that match")
@output_option
def list_(match_pattern: str, output: str) -> None:
    """List metrics and their values.

    What is timed has one line in the table: how often, then how long it took at most in half,
    in 90 % and in 99 % of the cases.
    """
    try:
        wanted = re.compile(match_pattern)
    except re.error as error:
        raise ClientError(
            f"pattern {match_pattern!r} is no regular expression: {error}", "e.g. -p '^cilium_drop'"
        ) from None
    found = [one for one in agent().get("/v1/metrics") if wanted.search(one["name"])]
    if not found and match_pattern:
        raise ClientError(
            f"no metric matches {match_pattern!r}", "`cilia metrics list` lists all of them"
        )
    emit(found, output, table(("Metric", "Labels", "Value"), metric_rows(found)))


def metric_rows(samples: Sequence[Json]) -> list[list[str]]:
    """Returns metric, labels and value of each; a histogram's samples as one row."""
    timed: dict[tuple[str, str], dict[float, float]] = {}
    rows: dict[tuple[str, str], str] = {}
    for one in samples:
        name, labels = one["name"], dict(one["labels"])
        if name.endswith("_bucket") and "le" in labels:
            limit = float(labels.pop("le"))
            key = (name.removesuffix("_bucket"), _labels(labels))
            timed.setdefault(key, {})[limit] = one["value"]
            rows.setdefault(key, "")
        else:
            rows[name, _labels(labels)] = f"{one['value']:.6f}"
    for (name, labels_text), buckets in timed.items():
        for ending in _ENDINGS:
            rows.pop((f"{name}{ending}", labels_text), None)
        rows[name, labels_text] = quantiles_text(buckets)
    return [[name, labels_text, value] for (name, labels_text), value in rows.items()]


def quantiles_text(buckets: dict[float, float]) -> str:
    """Returns how often, and the upper limits of the quantiles.

    Args:
        buckets: How many were at most so long, by seconds.

    >>> quantiles_text({0.001: 5.0, 0.01: 9.0, float("inf"): 10.0})
    '10 times: 1ms / 10ms / > 10ms'
    >>> quantiles_text({0.001: 0.0, float("inf"): 0.0})
    '0 times'
    """
    limits = sorted(buckets)
    total = buckets[limits[-1]]
    if not total:
        return "0 times"
    found = []
    for share in QUANTILES:
        at = next(n for n, limit in enumerate(limits) if buckets[limit] >= share * total)
        is_beyond = limits[at] == float("inf")
        limit_s = limits[max(at - is_beyond, 0)]
        text = f"{limit_s * 1000:g}ms" if limit_s < 1 else f"{limit_s:g}s"
        found.append(f"> {text}" if is_beyond else text)
    return f"{total:g} times: {' / '.join(found)}"


def _labels(labels: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
