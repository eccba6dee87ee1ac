"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386)."""

from copy import deepcopy
from typing import Any

from .errors import Json, StatusError, bad_request


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied; neither argument is changed.

    >>> merge_patch({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"d": 3}})
    {'b': {'c': 2, 'd': 3}}
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(target: Json, operations: Any) -> Any:
    """The target with a list of JSON patch operations applied to a copy.

    Raises:
        StatusError: The patch is malformed (400), or does not fit the target (422).
    """
    if not isinstance(operations, list):
        raise bad_request("json patch must be a list of operations")
    if len(operations) > 10_000:
        raise bad_request(f"json patch has {len(operations)} operations; 10000 are allowed")
    document: Any = deepcopy(target)
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("each json patch operation needs op and path")
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: Json) -> Any:
    name, path = operation.get("op"), _parts(operation["path"])
    if name in ("move", "copy"):
        origin = operation.get("from")
        if not isinstance(origin, str):
            raise bad_request(f"json patch {name} {operation['path']}: from is missing")
        source = _parts(origin)
        if name == "move" and path[: len(source)] == source and path != source:
            raise _misfit(operation, "cannot move a value into itself")
        value = deepcopy(_read(document, source, operation))
        if name == "move":
            document = _remove(document, source, operation)
        return _add(document, path, value, operation)
    if name == "remove":
        return _remove(document, path, operation)
    if "value" not in operation:
        raise bad_request(f"json patch {name} {operation['path']}: value is missing")
    value = deepcopy(operation["value"])
    if name == "add":
        return _add(document, path, value, operation)
    if name == "replace":
        return _replace(document, path, value, operation)
    if name == "test":
        if not _equal(_read(document, path, operation), value):
            raise _misfit(operation, "testing value failed")
        return document
    raise bad_request(f"json patch: unknown operation {name!r}")


def _equal(one: Any, other: Any) -> bool:
    # JSON knows no number that equals a boolean; Python does.
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def _misfit(operation: Json, why: str) -> StatusError:
    message = "the server rejected our request due to an error in our request: json patch "
    return StatusError(422, "Invalid", f"{message}{operation.get('op')} {operation['path']}: {why}")


def _parts(pointer: str) -> list[str]:
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise bad_request(f"json patch: {pointer!r} is no JSON pointer, it must begin with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _index(items: list[Any], part: str, operation: Json, *, end: bool) -> int:
    if end and part == "-":
        return len(items)
    digits = part.isascii() and part.isdecimal() and len(part) < 10
    if not digits or (part[0] == "0" and part != "0"):
        raise _misfit(operation, f"{part!r} is no list index")
    if int(part) >= len(items) + end:
        raise _misfit(operation, f"index {part} is out of bounds")
    return int(part)


def _child(node: Any, part: str, operation: Json) -> Any:
    if isinstance(node, dict) and part in node:
        return node[part]
    if isinstance(node, list):
        return node[_index(node, part, operation, end=False)]
    raise _misfit(operation, "path does not exist")


def _read(document: Any, path: list[str], operation: Json) -> Any:
    for part in path:
        document = _child(document, part, operation)
    return document


def _add(document: Any, path: list[str], value: Any, operation: Json) -> Any:
    if not path:
        return value
    parent = _read(document, path[:-1], operation)
    if isinstance(parent, list):
        parent.insert(_index(parent, path[-1], operation, end=True), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise _misfit(operation, "path does not exist")
    return document


def _replace(document: Any, path: list[str], value: Any, operation: Json) -> Any:
    if not path:
        return value
    parent = _read(document, path[:-1], operation)
    _child(parent, path[-1], operation)
    if isinstance(parent, list):
        parent[int(path[-1])] = value
    else:
        parent[path[-1]] = value
    return document


def _remove(document: Any, path: list[str], operation: Json) -> Any:
    if not path:
        raise _misfit(operation, "the whole document cannot be removed")
    parent = _read(document, path[:-1], operation)
    _child(parent, path[-1], operation)
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]
    return document
