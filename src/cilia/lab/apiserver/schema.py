"""OpenAPI schemas of all kinds, and the walk that decodes an object by one.

Built-in kinds' schemas are the generated `schemas/builtin.json` (field names,
types, merge keys); defined kinds bring their own. Both are plain OpenAPI v3
with Kubernetes' `x-kubernetes-*` extensions, so patches, apply and validation
treat them alike.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from .definition_schema import DEFINITION
from .definition_schema import NAME as DEFINITION_NAME
from .errors import Json, bad_request

REFERENCE = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = {"$ref": f"{REFERENCE}{META}ObjectMeta"}
ANY: Json = {"x-kubernetes-preserve-unknown-fields": True}

BUILT_IN: dict[str, Json] = msgspec.json.decode(
    (Path(__file__).parent / "schemas" / "builtin.json").read_bytes(), type=dict[str, Json]
)
"""Type name (`io.k8s.api.core.v1.Pod`) -> schema."""
BUILT_IN[DEFINITION_NAME] = DEFINITION


def resolve(schema: Json) -> Json:
    """The schema that a reference means, with the reference's own extensions on top."""
    while True:
        if ref := schema.get("$ref"):
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            target = BUILT_IN.get(str(ref).removeprefix(REFERENCE), ANY)
            schema = target | rest if rest else target
        elif "allOf" in schema and "properties" not in schema and len(schema["allOf"]) == 1:
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            schema = schema["allOf"][0] | rest
        else:
            return schema


def member(schema: Json, name: str) -> Json | None:
    """The schema of a field of an object or an entry of a map; None when not allowed."""
    properties = schema.get("properties")
    if properties and name in properties:
        return resolve(properties[name])
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        return resolve(extra)
    if extra is True or schema.get("x-kubernetes-preserve-unknown-fields"):
        return ANY
    return None if properties is not None or schema.get("type") == "object" else ANY


def element(schema: Json) -> Json:
    """The schema of a list's elements."""
    return resolve(schema.get("items") or ANY)


def object_schema(name: str, open_schema: Json | None) -> Json:
    """The schema of a whole object.

    Args:
        name: A built-in type's name, or empty.
        open_schema: A defined kind's schema, or None.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if open_schema is None:
        return ANY
    own = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": OBJECT_META,
    }
    return open_schema | {"properties": open_schema.get("properties", {}) | own}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES = {"string": str, "array": list, "object": dict, "boolean": bool}
_NAMES = {str: "string", list: "array", dict: "object", bool: "bool", int: "number"}
_RANGES = {"int32": 2**31, "int64": 2**63}


class Decoder:
    """Walks one built-in object as Kubernetes' decoder does.

    Fields that the schema does not know, and nulls, are left out; `unknown`
    holds their paths (`spec.containers[0].imagee`).
    """

    def __init__(self, kind: str, version: str) -> None:
        self._kind = kind
        self._version = version
        self.unknown: list[str] = []

    def object(self, value: Json, schema: Json) -> Json:
        """A new object that holds what the schema knows of `value`.

        Raises:
            StatusError: A field has the wrong type (400).
        """
        decoded: Json = self._walk(value, resolve(schema), "")
        return decoded

    def _walk(self, value: Any, schema: Json, path: str) -> Any:
        if schema.get("format") in ("int-or-string", "quantity"):
            return self._number_or_string(value, schema, path)
        wanted = schema.get("type")
        if wanted == "integer":
            return self._integer(value, schema, path)
        if wanted in _TYPES and not isinstance(value, _TYPES[wanted]):
            raise self._mismatch(value, path, wanted)
        if schema.get("format") == "date-time":
            self._check_time(value, path)
        if wanted == "array":
            items = element(schema)
            return [
                self._walk(item, items, f"{path}[{index}]")
                for index, item in enumerate(value)
                if item is not None
            ]
        if wanted == "object":
            return self._object(value, schema, path)
        return value

    def _check_time(self, value: str, path: str) -> None:
        try:
            datetime.fromisoformat(value)
        except ValueError as error:
            raise self._mismatch(value, path, "date-time") from error

    def _object(self, value: Json, schema: Json, path: str) -> Json:
        decoded: Json = {}
        for name, inner in value.items():
            place = f"{path}.{name}" if path else name
            known = member(schema, name)
            if known is None:
                self.unknown.append(place)
            elif inner is not None:
                decoded[name] = self._walk(inner, known, place)
        return decoded

    def _integer(self, value: Any, schema: Json, path: str) -> int:
        kind = schema.get("format", "int64")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not _is_int(value) or not -_RANGES[kind] <= value < _RANGES[kind]:
            raise self._mismatch(value, path, kind)
        return int(value)

    def _number_or_string(self, value: Any, schema: Json, path: str) -> int | str:
        if isinstance(value, str) or (_is_int(value) and schema["format"] == "int-or-string"):
            return cast("int | str", value)
        if schema["format"] == "quantity" and isinstance(value, (int, float)):
            return str(value)
        raise self._mismatch(value, path, schema["format"])

    def _mismatch(self, value: Any, path: str, wanted: str) -> Exception:
        found = "number" if isinstance(value, float) else _NAMES.get(type(value), "null")
        return bad_request(
            f'{self._kind} in version "{self._version}" cannot be handled as a {self._kind}: '
            f"json: cannot unmarshal {found} into field {path} of type {wanted}"
        )
