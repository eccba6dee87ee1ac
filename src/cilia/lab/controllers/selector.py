"""Label selectors and node requirements.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

from collections.abc import Mapping
from typing import Any

Selector = Mapping[str, Any]


def selects(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; an empty one matches all, None nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(satisfies(one, labels) for one in selector.get("matchExpressions") or [])


def satisfies(requirement: Selector, labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil one requirement (`key`, `operator`, `values`)."""
    value = labels.get(requirement["key"])
    values = requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _number(value) is not None and _order(value, values) > 0
        case "Lt":
            return _number(value) is not None and _order(value, values) < 0
        case _:
            return False


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _order(value: str | None, values: list[str]) -> int:
    """Sign of value - values[0]; 0 when either is no number."""
    left, right = _number(value), _number(values[0] if values else None)
    if left is None or right is None:
        return 0
    return (left > right) - (left < right)
