"""Times of flows: as text in the layouts of the stock tool, and text as times.

All in UTC. Source: https://pkg.go.dev/time, layouts and `ParseDuration`.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

NS = 1_000_000_000

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": NS,
    "m": 60 * NS,
    "h": 3600 * NS,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def duration_ns(text: str) -> int:
    """A Go duration in ns.

    >>> duration_ns("1h2m"), duration_ns("1.5s")
    (3720000000000, 1500000000)

    Raises:
        ValueError: not of that form.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 5m, 1h30m or 250ms")
    return round(sum(float(number) * _UNITS_NS[unit] for number, unit in parts))


LAYOUTS: dict[str, Callable[[datetime, int], str]] = {
    "StampMilli": lambda t, ns: f"{t:%b} {t.day:2} {t:%H:%M:%S}.{ns // 10**6:03}",
    "YearMonthDay": lambda t, ns: f"{t:%Y-%m-%d}",
    "YearMonthDayHour": lambda t, ns: f"{t:%Y-%m-%dT%H}Z",
    "YearMonthDayHourMinute": lambda t, ns: f"{t:%Y-%m-%dT%H:%M}Z",
    "RFC3339": lambda t, ns: f"{t:%Y-%m-%dT%H:%M:%S}Z",
    "RFC3339Milli": lambda t, ns: f"{t:%Y-%m-%dT%H:%M:%S}.{ns // 10**6:03}Z",
    "RFC3339Micro": lambda t, ns: f"{t:%Y-%m-%dT%H:%M:%S}.{ns // 10**3:06}Z",
    "RFC3339Nano": lambda t, ns: f"{t:%Y-%m-%dT%H:%M:%S}{_shortest(ns)}Z",
    "RFC1123Z": lambda t, ns: f"{t:%a, %d %b %Y %H:%M:%S} +0000",
}
"""How a time can be written; the first is the default."""


def _shortest(ns: int) -> str:
    return f".{ns:09}".rstrip("0").rstrip(".")


def time_text(seconds: int, ns: int, layout: str) -> str:
    """A Unix time in one of `LAYOUTS`.

    >>> time_text(0, 123_000_000, "StampMilli")
    'Jan  1 00:00:00.123'
    """
    return LAYOUTS[layout](datetime.fromtimestamp(seconds, UTC), ns)


def moment_ns(text: str, now_ns: int) -> int:
    """`--since` and `--until`: a duration back from now, or a point in time, in Unix ns.

    Raises:
        ValueError: neither of them.
    """
    if _PART.match(text):
        return now_ns - duration_ns(text)
    for layout in ("%Y-%m-%d", "%Y-%m-%dT%H%z", "%Y-%m-%dT%H:%M%z", "%a, %d %b %Y %H:%M:%S %z"):
        try:
            return _unix_ns(datetime.strptime(text, layout))
        except ValueError:
            continue
    whole, fraction, zone = _split_fraction(text)
    try:
        return _unix_ns(datetime.strptime(whole + zone, "%Y-%m-%dT%H:%M:%S%z")) + fraction
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: a duration back from now such as 5m, or one of "
            f"2026-09-21, 2026-09-21T14Z, 2026-09-21T14:13Z, 2026-09-21T14:13:20.123Z"
        ) from None


_FRACTION = re.compile(r"^(.*:\d\d)\.(\d{1,9})(.*)$")


def _split_fraction(text: str) -> tuple[str, int, str]:
    """A time in front of its fraction, the fraction in ns, and the zone behind it."""
    match = _FRACTION.match(text)
    if match is None:
        return text, 0, ""
    return match[1], int(match[2].ljust(9, "0")), match[3]


def _unix_ns(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1_000
