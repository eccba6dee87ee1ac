"""Sets of fields, as server-side apply tracks them, and their `FieldsV1` form.

A path is a tuple of `f:name` (a field), `k:{"name":"x"}` (an element of a list
with keys) and `v:"x"` (an element of a set), as in `FieldsV1`. A path in a set
is a leaf, or a list element that exists.

Source:
    https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import Json
from .schema import element, member, resolve

FieldPath = tuple[str, ...]
MISSING: Any = object()
"""What `value_at` gives for a path that leads nowhere."""


def _is_atomic(value: Any, schema: Json) -> bool:
    if isinstance(value, dict):
        return bool(schema.get("x-kubernetes-map-type") == "atomic")
    if isinstance(value, list):
        return bool(schema.get("x-kubernetes-list-type", "atomic") == "atomic")
    return True


def element_step(item: Any, schema: Json) -> str:
    """The step that leads to a list's element.

    Args:
        item: The element.
        schema: The list's schema, of type `map` or `set`.
    """
    if schema["x-kubernetes-list-type"] == "set" or not isinstance(item, dict):
        return "v:" + _canonical(item)
    properties = element(schema).get("properties") or {}
    keys = {}
    for key in schema.get("x-kubernetes-list-map-keys") or []:
        value = item.get(key, properties.get(key, {}).get("default"))
        if value is not None:
            keys[key] = value
    return "k:" + _canonical(keys)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def children(value: Any, schema: Json) -> Iterator[tuple[str, Any, Json]]:
    """Steps, values and schemas of what a granular value holds."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"f:{name}", inner, member(schema, name) or {}
    else:
        items = element(schema)
        for item in value:
            yield element_step(item, schema), item, items


def field_set(value: Any, schema: Json, path: FieldPath = ()) -> set[FieldPath]:
    """Every field that a value sets.

    Args:
        value: The object or a part of it.
        schema: Its schema.
        path: Where the value lies.
    """
    schema = resolve(schema)
    if _is_atomic(value, schema) or not value:
        return {path}
    found: set[FieldPath] = set()
    for step, inner, inner_schema in children(value, schema):
        place = (*path, step)
        if step.startswith("k:"):
            found.add(place)
        found |= field_set(inner, inner_schema, place)
    return found


def value_at(value: Any, schema: Json, path: FieldPath) -> Any:
    """The value that a path leads to, or `MISSING`."""
    for step in path:
        schema = resolve(schema)
        if step.startswith("f:"):
            name = step[2:]
            if not isinstance(value, dict) or name not in value:
                return MISSING
            value, schema = value[name], member(schema, name) or {}
        else:
            if not isinstance(value, list) or _is_atomic(value, schema):
                return MISSING
            found = [item for item in value if element_step(item, schema) == step]
            if not found:
                return MISSING
            value, schema = found[0], element(schema)
    return value


def remove(value: Any, schema: Json, path: FieldPath) -> Any:
    """The value without what a path leads to; maps that become empty go with it."""
    schema = resolve(schema)
    step, rest = path[0], path[1:]
    if step.startswith("f:"):
        name = step[2:]
        if not isinstance(value, dict) or name not in value:
            return value
        kept = {key: inner for key, inner in value.items() if key != name}
        if rest:
            inner = remove(value[name], member(schema, name) or {}, rest)
            if inner not in ({}, []) or value[name] in ({}, []):
                return value | {name: inner}
        return kept
    if not isinstance(value, list) or _is_atomic(value, schema):
        return value
    items = []
    for item in value:
        if element_step(item, schema) != step:
            items.append(item)
        elif rest:
            items.append(remove(item, element(schema), rest))
    return items


def merge(value: Any, config: Any, schema: Json) -> Any:
    """The value with a configuration's fields in it; lists and maps as their schema says."""
    schema = resolve(schema)
    if type(value) is not type(config) or _is_atomic(config, schema):
        return config
    if isinstance(config, dict):
        merged = dict(value)
        for name, inner in config.items():
            merged[name] = (
                merge(value[name], inner, member(schema, name) or {}) if name in value else inner
            )
        return merged
    places = {element_step(item, schema): index for index, item in enumerate(value)}
    items = list(value)
    for item in config:
        index = places.get(element_step(item, schema))
        if index is None:
            items.append(item)
        else:
            items[index] = merge(items[index], item, element(schema))
    return items


def encode_fields(paths: Iterable[FieldPath]) -> Json:
    """`FieldsV1` of a set."""
    tree: Json = {}
    known = sorted(paths)
    for path in known:
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    for path in known:
        node = tree
        for step in path:
            node = node[step]
        if node and path and path[-1].startswith("k:"):
            node["."] = {}
    return tree


def decode_fields(tree: Any, path: FieldPath = ()) -> set[FieldPath]:
    """The set of a `FieldsV1`; what is malformed in it is left out."""
    if not isinstance(tree, dict) or not tree:
        return {path} if path else set()
    found: set[FieldPath] = set()
    for step, inner in tree.items():
        if step == ".":
            found.add(path)
        elif step[:2] in ("f:", "k:", "v:"):
            found |= decode_fields(inner, (*path, step))
    return found


def shown_path(path: FieldPath) -> str:
    """`.spec.containers[name="x"].image`, as conflicts are told."""
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += f".{step[2:]}"
        elif step.startswith("k:"):
            keys = json.loads(step[2:])
            text += "[" + ",".join(f"{key}={_canonical(keys[key])}" for key in sorted(keys)) + "]"
        else:
            text += f"[={step[2:]}]"
    return text
