"""The rules of an OpenAPI schema that a defined resource's object breaks.

Source:
    https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.32/#jsonschemaprops-v1-apiextensions-k8s-io
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from .errors import Cause, Json

_MAX_CAUSES = 20
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": lambda value: _is_number(value),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:200]


def _invalid(path: str, value: Any, why: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {_shown(value)}: {why}", path)


def schema_causes(value: Any, schema: Json, path: str = "") -> list[Cause]:
    """What is wrong with a value; at most twenty causes.

    Args:
        value: The object or a part of it.
        schema: Its schema.
        path: Where the value lies, as messages say it; empty for the object.
    """
    causes = []
    for cause in _rules(value, schema, path):
        causes.append(cause)
        if len(causes) == _MAX_CAUSES:
            break
    return causes


def _rules(value: Any, schema: Json, path: str) -> Iterator[Cause]:
    if value is None and schema.get("nullable"):
        return
    wanted = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, str) and not _TYPES["integer"](value):
            yield _type_cause(path, value, "integer,string")
            return
    elif wanted and not _TYPES.get(wanted, lambda _: True)(value):
        yield _type_cause(path, value, wanted)
        return
    yield from _enumerated(value, schema, path)
    if isinstance(value, str):
        yield from _text(value, schema, path)
    elif _is_number(value):
        yield from _number(value, schema, path)
    elif isinstance(value, list):
        yield from _list(value, schema, path)
    elif isinstance(value, dict):
        yield from _object(value, schema, path)
    yield from _combined(value, schema, path)


def _type_cause(path: str, value: Any, wanted: str) -> Cause:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    found = names.get(type(value), "integer" if isinstance(value, int) else "number")
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return Cause("FieldValueTypeInvalid", text, path)


def _enumerated(value: Any, schema: Json, path: str) -> Iterator[Cause]:
    known = schema.get("enum")
    if known is not None and value not in known:
        words = ", ".join(_shown(word) for word in known)
        text = f"Unsupported value: {_shown(value)}: supported values: {words}"
        yield Cause("FieldValueNotSupported", text, path)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def _text(value: str, schema: Json, path: str) -> Iterator[Cause]:
    if (longest := schema.get("maxLength")) is not None and len(value) > longest:
        text = f"Too long: may not be more than {longest} bytes"
        yield Cause("FieldValueTooLong", text, path)
    if (shortest := schema.get("minLength")) is not None and len(value) < shortest:
        yield _invalid(path, value, f"{path} in body should be at least {shortest} chars long")
    if wanted := schema.get("pattern"):
        pattern = _pattern(wanted)
        if pattern is not None and not pattern.search(value):
            yield _invalid(path, value, f"{path} in body should match '{wanted}'")
    check = _FORMATS.get(schema.get("format", ""))
    if check is not None and not check(value):
        form = schema["format"]
        yield _invalid(path, value, f"{path} in body must be of type {form}: {_shown(value)}")


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


_FORMATS: dict[str, Callable[[str], bool]] = {
    "ipv4": _parses(lambda text: _of_version(text, 4)),
    "ipv6": _parses(lambda text: _of_version(text, 6)),
    "cidr": _parses(lambda text: ip_network(text, strict=False)),
    "date-time": _parses(datetime.fromisoformat),
    "uuid": lambda text: (
        re.fullmatch(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}", text) is not None
    ),
}


def _of_version(text: str, version: int) -> None:
    if ip_address(text).version != version:
        raise ValueError(text)


def _number(value: float, schema: Json, path: str) -> Iterator[Cause]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        strict = bool(schema.get("exclusiveMinimum"))
        if value < low or (strict and value == low):
            relation = "greater than" if strict else "greater than or equal to"
            yield _invalid(path, value, f"{path} in body should be {relation} {low}")
    if high is not None:
        strict = bool(schema.get("exclusiveMaximum"))
        if value > high or (strict and value == high):
            relation = "less than" if strict else "less than or equal to"
            yield _invalid(path, value, f"{path} in body should be {relation} {high}")
    step = schema.get("multipleOf")
    if step and value % step:
        yield _invalid(path, value, f"{path} in body should be a multiple of {step}")


def _list(value: list[Any], schema: Json, path: str) -> Iterator[Cause]:
    if (most := schema.get("maxItems")) is not None and len(value) > most:
        text = f"Too many: {len(value)}: must have at most {most} items"
        yield Cause("FieldValueTooMany", text, path)
    if (least := schema.get("minItems")) is not None and len(value) < least:
        yield _invalid(path, len(value), f"{path} in body should have at least {least} items")
    kind, keys = (
        schema.get("x-kubernetes-list-type"),
        schema.get("x-kubernetes-list-map-keys") or [],
    )
    if kind in ("set", "map"):
        yield from _duplicates(value, keys if kind == "map" else [], path)
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            yield from _rules(item, items, f"{path}[{index}]")


def _duplicates(value: list[Any], keys: list[str], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, item in enumerate(value):
        chosen = {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item
        text = json.dumps(chosen, sort_keys=True)
        if text in seen:
            place = f"{path}[{index}]"
            yield Cause("FieldValueDuplicate", f"Duplicate value: {_shown(chosen)}", place)
        seen.add(text)


def _object(value: Json, schema: Json, path: str) -> Iterator[Cause]:
    prefix = f"{path}." if path else ""
    for name in schema.get("required") or []:
        if name not in value:
            yield Cause("FieldValueRequired", "Required value", prefix + name)
    if (most := schema.get("maxProperties")) is not None and len(value) > most:
        text = f"Too many: {len(value)}: must have at most {most} items"
        yield Cause("FieldValueTooMany", text, path)
    if (least := schema.get("minProperties")) is not None and len(value) < least:
        text = f"{path or 'object'} in body should have at least {least} properties"
        yield _invalid(path, len(value), text)
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    for name, inner in value.items():
        if not path and name in ("apiVersion", "kind", "metadata"):
            continue
        if name in properties:
            yield from _rules(inner, properties[name], prefix + name)
        elif isinstance(extra, dict):
            yield from _rules(inner, extra, prefix + name)


def _holds(value: Any, schema: Json, path: str) -> bool:
    return next(_rules(value, schema, path), None) is None


def _combined(value: Any, schema: Json, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf") or []:
        yield from _rules(value, part, path)
    parts = schema.get("anyOf")
    if parts and not any(_holds(value, part, path) for part in parts):
        text = f"{path} in body must validate at least one schema (anyOf)"
        yield _invalid(path, value, text)
        yield from _rules(value, parts[0], path)
    if parts := schema.get("oneOf"):
        count = sum(_holds(value, part, path) for part in parts)
        if count != 1:
            found = f"Found {count} valid alternatives" if count else "Found none valid"
            text = f"{path} in body must validate one and only one schema (oneOf). {found}"
            yield _invalid(path, value, text)
    if (part := schema.get("not")) is not None and _holds(value, part, path):
        yield _invalid(path, value, f"{path} in body must not validate the schema (not)")
