"""What the cells of all tables share: ages, lists, label selectors."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from cilia.lab.apiserver.errors import Json


class Printer(msgspec.Struct, frozen=True):
    """How a kind's objects become rows."""

    columns: list[tuple[str, str, int]]
    """Name, type (`string`, `integer` …) and priority (1: only with `-o wide`), after Name."""
    cells: Callable[[Json], list[Any]]
    """The row of an object, without its name."""


def human_duration(seconds: float) -> str:
    """A duration as kubectl prints it.

    >>> [human_duration(s) for s in (5, 119, 125, 3599, 7260, 90000, 10 ** 8)]
    ['5s', '119s', '2m5s', '59m', '121m', '25h', '3y62d']
    """
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _pair(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _pair(days // 365, "y", days % 365, "d") if days < 2920 else f"{days // 365}y"


def _pair(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def since(stamp: Any) -> str:
    """The time since an RFC 3339 timestamp; `<unknown>` when there is none."""
    if not isinstance(stamp, str):
        return "<unknown>"
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return "<unknown>"
    return human_duration(time.time() - moment.timestamp())


def age(item: Json) -> str:
    """The time since the object's creation."""
    return since(item["metadata"].get("creationTimestamp"))


def joined(values: list[Any] | None, empty: str = "<none>") -> str:
    """Values with commas between, or a word for nothing."""
    return ",".join(str(value) for value in values) if values else empty


def label_text(labels: Json | None, empty: str = "<none>") -> str:
    """`a=b,c=d`, sorted."""
    if not labels:
        return empty
    return ",".join(f"{key}={value}" if value else key for key, value in sorted(labels.items()))


def selector_text(selector: Json | None) -> str:
    """A `LabelSelector` in one line."""
    if not selector:
        return "<none>"
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for entry in selector.get("matchExpressions") or []:
        key, operator, values = entry["key"], entry["operator"], entry.get("values") or []
        if operator in ("In", "NotIn"):
            parts.append(f"{key} {operator.lower()} ({','.join(values)})")
        else:
            parts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(parts) or "<none>"


def condition(item: Json, kind: str) -> Json | None:
    """The object's condition of a type."""
    for entry in (item.get("status") or {}).get("conditions") or []:
        if entry.get("type") == kind:
            found: Json = entry
            return found
    return None
