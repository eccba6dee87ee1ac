"""The schema of CustomResourceDefinition, and what is wrong with the schemas inside one.

Source:
    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from collections.abc import Iterator
from typing import Any

from .errors import Cause, Json

NAME = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"

_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}
_NUMBER: Json = {"type": "integer", "format": "int32"}
_ANY: Json = {"x-kubernetes-preserve-unknown-fields": True}


def _record(*required: str, **fields: Json) -> Json:
    made: Json = {"type": "object", "properties": fields}
    return made | ({"required": sorted(required)} if required else {})


def _list(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, "x-kubernetes-list-type": "atomic"} | more


def _by(key: str) -> Json:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


_NAMES = _record(
    "kind",
    "plural",
    categories=_list(_TEXT),
    kind=_TEXT,
    listKind=_TEXT,
    plural=_TEXT,
    shortNames=_list(_TEXT),
    singular=_TEXT,
)
_COLUMN = _record(
    "jsonPath",
    "name",
    "type",
    description=_TEXT,
    format=_TEXT,
    jsonPath=_TEXT,
    name=_TEXT,
    priority=_NUMBER,
    type=_TEXT,
)
_SCALE = _record(
    "specReplicasPath",
    "statusReplicasPath",
    labelSelectorPath=_TEXT,
    specReplicasPath=_TEXT,
    statusReplicasPath=_TEXT,
)
_VERSION = _record(
    "name",
    "served",
    "storage",
    additionalPrinterColumns=_list(_COLUMN),
    deprecated=_FLAG,
    deprecationWarning=_TEXT,
    name=_TEXT,
    schema=_record(openAPIV3Schema=_ANY | {"type": "object"}),
    selectableFields=_list(_record("jsonPath", jsonPath=_TEXT)),
    served=_FLAG,
    storage=_FLAG,
    subresources=_record(scale=_SCALE, status=_ANY | {"type": "object"}),
)
_CONDITION = _record(
    "status",
    "type",
    lastTransitionTime=_TEXT | {"format": "date-time"},
    message=_TEXT,
    observedGeneration={"type": "integer", "format": "int64"},
    reason=_TEXT,
    status=_TEXT,
    type=_TEXT,
)

DEFINITION: Json = _record(
    "spec",
    apiVersion=_TEXT,
    kind=_TEXT,
    metadata={"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
    spec=_record(
        "group",
        "names",
        "scope",
        "versions",
        conversion=_record("strategy", strategy=_TEXT, webhook=_ANY),
        group=_TEXT,
        names=_NAMES,
        preserveUnknownFields=_FLAG,
        scope=_TEXT,
        versions=_list(_VERSION),
    ),
    status=_record(
        acceptedNames=_NAMES,
        conditions=_list(_CONDITION, **_by("type")),
        storedVersions=_list(_TEXT),
    ),
)
"""Of the kind itself."""

_KEYWORDS: dict[str, type | tuple[type, ...]] = {
    "description": str, "type": str, "format": str, "title": str, "pattern": str,
    "maximum": (int, float), "minimum": (int, float), "multipleOf": (int, float),
    "maxLength": int, "minLength": int, "maxItems": int, "minItems": int,
    "maxProperties": int, "minProperties": int, "exclusiveMaximum": bool,
    "exclusiveMinimum": bool, "uniqueItems": bool, "nullable": bool, "enum": list,
    "required": list, "properties": dict, "items": dict, "additionalProperties": (dict, bool),
    "allOf": list, "anyOf": list, "oneOf": list, "not": dict,
    "x-kubernetes-preserve-unknown-fields": bool, "x-kubernetes-embedded-resource": bool,
    "x-kubernetes-int-or-string": bool, "x-kubernetes-list-type": str,
    "x-kubernetes-list-map-keys": list, "x-kubernetes-map-type": str,
}  # fmt: skip
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_FORBIDDEN = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems")


def schema_problems(schema: Any, path: str, *, typed: bool = True) -> Iterator[Cause]:
    """What is wrong with a schema that a definition brings.

    Args:
        schema: The schema or a part of it.
        path: Where it lies in the definition.
        typed: Whether it must say a type; not inside `allOf`, `anyOf`, `oneOf`, `not`.
    """
    if not isinstance(schema, dict):
        yield Cause("FieldValueInvalid", "Invalid value: must be an object", path)
        return
    for name, value in schema.items():
        wanted = _KEYWORDS.get(name)
        number = isinstance(value, bool) and wanted not in (bool, (dict, bool))
        if wanted is not None and (not isinstance(value, wanted) or number):
            text = f"Invalid value: {type(value).__name__}: is of the wrong type"
            yield Cause("FieldValueTypeInvalid", text, f"{path}.{name}")
            return
        if name in _FORBIDDEN:
            text = f"Forbidden: {name} is not supported"
            yield Cause("FieldValueForbidden", text, f"{path}.{name}")
    kind = schema.get("type")
    free = schema.get("x-kubernetes-int-or-string") or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if kind is None and typed and not free:
        text = "Required value: must not be empty for specified object fields"
        yield Cause("FieldValueRequired", text, f"{path}.type")
    elif kind is not None and kind not in _TYPES:
        known = ", ".join(f'"{word}"' for word in _TYPES)
        text = f'Unsupported value: "{kind}": supported values: {known}'
        yield Cause("FieldValueNotSupported", text, f"{path}.type")
    yield from _text_lists(schema, path)
    yield from _inner_problems(schema, path, typed=typed)


def _text_lists(schema: Json, path: str) -> Iterator[Cause]:
    for name in ("required", "x-kubernetes-list-map-keys"):
        if any(not isinstance(entry, str) for entry in schema.get(name) or []):
            text = "Invalid value: must be a list of strings"
            yield Cause("FieldValueTypeInvalid", text, f"{path}.{name}")


def _inner_problems(schema: Json, path: str, *, typed: bool) -> Iterator[Cause]:
    for name, inner in (schema.get("properties") or {}).items():
        yield from schema_problems(inner, f"{path}.properties[{name}]", typed=typed)
    for name in ("items", "additionalProperties"):
        inner = schema.get(name)
        if isinstance(inner, dict):
            yield from schema_problems(inner, f"{path}.{name}", typed=typed)
    for name in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(name) or []):
            yield from schema_problems(inner, f"{path}.{name}[{index}]", typed=False)
    if "not" in schema:
        yield from schema_problems(schema["not"], f"{path}.not", typed=False)
