"""Strategic merge patch: lists of objects merge by the key their schema names.

Source:
    https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from typing import Any

from .errors import Json, bad_request
from .schema import element, member, resolve

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"
_DIRECTIVES = ("$patch", "$retainKeys")


def strategic_merge(original: Json, patch: Json, schema: Json) -> Json:
    """The original with a strategic merge patch applied; no argument is changed.

    Args:
        original: The object, or a part of it.
        patch: The patch of it.
        schema: Its schema, whose `x-kubernetes-patch-merge-key` and
            `x-kubernetes-patch-strategy` say how lists merge.

    Raises:
        StatusError: A directive is malformed, or a list element lacks its key (400).
    """
    directive = patch.get("$patch", "merge")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if directive != "merge":
        raise bad_request(f'Unknown patch type "{directive}" in strategic merge patch')
    schema = resolve(schema)
    retained = patch.get("$retainKeys")
    result = {key: value for key, value in original.items() if retained is None or key in retained}
    for name, value in patch.items():
        if name.startswith(_DELETE):
            _delete_values(result, name.removeprefix(_DELETE), value)
        elif name not in _DIRECTIVES and not name.startswith("$"):
            _merge_field(result, name, value, member(schema, name) or {})
    for name, order in patch.items():
        if name.startswith(_ORDER):
            field = name.removeprefix(_ORDER)
            _reorder(result, original, field, order, member(schema, field) or {})
    return result


def _merge_field(result: Json, name: str, value: Any, schema: Json) -> None:
    if value is None:
        result.pop(name, None)
    elif isinstance(value, dict):
        current = result.get(name)
        merged = strategic_merge(current if isinstance(current, dict) else {}, value, schema)
        if value.get("$patch") == "delete":
            result.pop(name, None)
        else:
            result[name] = merged
    elif isinstance(value, list):
        current = result.get(name)
        result[name] = _merge_list(current if isinstance(current, list) else [], value, schema)
    else:
        result[name] = value


def _is_merged(schema: Json) -> bool:
    return "merge" in schema.get("x-kubernetes-patch-strategy", "").split(",")


def _merge_list(original: list[Any], patch: list[Any], schema: Json) -> list[Any]:
    if not _is_merged(schema):
        return patch
    key = schema.get("x-kubernetes-patch-merge-key")
    if key is None:
        return original + [value for value in patch if value not in original]
    items = [item for item in patch if isinstance(item, dict)]
    if any(item.get("$patch") == "replace" for item in items):
        return [item for item in items if "$patch" not in item]
    result = list(original)
    for item in items:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        place = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif place is None:
            result.append(strategic_merge({}, item, element(schema)))
        else:
            result[place] = strategic_merge(result[place], item, element(schema))
    return result


def _delete_values(result: Json, name: str, values: Any) -> None:
    if not isinstance(values, list):
        raise bad_request(f"{_DELETE}{name} must be a list")
    if isinstance(result.get(name), list):
        result[name] = [value for value in result[name] if value not in values]


def _reorder(result: Json, original: Json, name: str, order: Any, schema: Json) -> None:
    """Brings a merged list into the patch's order; what only the server has keeps its place."""
    items = result.get(name)
    if not isinstance(order, list) or not isinstance(items, list) or not _is_merged(schema):
        return
    key = schema.get("x-kubernetes-patch-merge-key")

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    before = original.get(name)
    live = [identity(item) for item in before] if isinstance(before, list) else []
    ours = sorted(
        (item for item in items if identity(item) in wanted),
        key=lambda item: wanted.index(identity(item)),
    )
    theirs = [item for item in items if identity(item) not in wanted]
    merged: list[Any] = []
    while ours and theirs:
        mine, other = identity(ours[0]), identity(theirs[0])
        first = mine not in live or (other in live and live.index(mine) < live.index(other))
        merged.append(ours.pop(0) if first else theirs.pop(0))
    result[name] = merged + ours + theirs
