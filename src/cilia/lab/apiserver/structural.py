"""Structural schemas of defined resources: pruning, defaults, validation.

Source:
    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from copy import deepcopy
from typing import Any

from .errors import Json

_OPEN = "x-kubernetes-preserve-unknown-fields"
_OWN = ("apiVersion", "kind", "metadata")


def prune(value: Any, schema: Json, unknown: list[str], path: str = "") -> None:
    """Removes, in place, the fields that the schema does not know.

    Args:
        value: The object or a part of it.
        schema: Its schema.
        unknown: Gets the paths of what was removed.
        path: Where the value lies in the object; empty for the object itself.
    """
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                prune(item, items, unknown, f"{path}[{index}]")
    elif isinstance(value, dict):
        _prune_object(value, schema, unknown, path)


def _prune_object(value: Json, schema: Json, unknown: list[str], path: str) -> None:
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    is_open = bool(schema.get(_OPEN)) or extra is True
    embedded = not path or schema.get("x-kubernetes-embedded-resource")
    for name in list(value):
        place = f"{path}.{name}" if path else name
        if embedded and name in _OWN:
            continue
        if name in properties:
            prune(value[name], properties[name], unknown, place)
        elif isinstance(extra, dict):
            prune(value[name], extra, unknown, place)
        elif not is_open:
            del value[name]
            unknown.append(place)


def default_values(value: Any, schema: Json) -> None:
    """Fills in the schema's defaults, in place; drops nulls that have one."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                default_values(item, items)
    elif isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name, inner in properties.items():
            if (
                "default" in inner
                and value.get(name) is None
                and (name not in value or not inner.get("nullable"))
            ):
                value[name] = deepcopy(inner["default"])
            if name in value:
                default_values(value[name], inner)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for name, item in value.items():
                if name not in properties:
                    default_values(item, extra)
