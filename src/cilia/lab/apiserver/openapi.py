"""OpenAPI v3 documents per group version, and the index of them.

They carry what kubectl reads: schemas with their group, version and kind, and
per kind one path whose `patch` offers dryRun and fieldValidation.
"""

import hashlib
from typing import Any

from .errors import Json
from .resources import Registry, Resource
from .schema import BUILT_IN, META, OBJECT_META, REFERENCE
from .storage import encode

_QUERY = ("dryRun", "fieldManager", "fieldValidation", "pretty")


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


class OpenApi:
    """The documents, built when first asked and kept until the registry changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._revision = -1
        self._documents: dict[str, tuple[str, bytes]] = {}

    def _current(self) -> dict[str, tuple[str, bytes]]:
        if self._revision != self._registry.revision:
            self._documents = {}
            for group, versions in self._registry.groups().items():
                for version in versions:
                    body = encode(document(self._registry, group, version))
                    digest = hashlib.sha256(body).hexdigest().upper()
                    self._documents[_path(group, version)] = (digest, body)
            self._revision = self._registry.revision
        return self._documents

    def index(self) -> Json:
        """`/openapi/v3`: path -> address with a hash, so that clients can cache."""
        return {
            "paths": {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
                for path, (digest, _) in self._current().items()
            }
        }

    def document(self, path: str) -> bytes | None:
        """`/openapi/v3/<path>`; None when there is no such group version."""
        found = self._current().get(path)
        return found[1] if found else None


def document(registry: Registry, group: str, version: str) -> Json:
    """The OpenAPI v3 document of one group version."""
    schemas: Json = {}
    paths: Json = {}
    for resource in registry.all():
        if (resource.group, resource.version) != (group, version):
            continue
        name = schema_name(resource)
        schemas[name] = published_schema(resource)
        schemas[f"{name}List"] = _list_schema(resource, name)
        for reference in (name, f"{name}List"):
            _collect(schemas[reference], schemas)
        paths |= _paths(resource, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.32.4"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def schema_name(resource: Resource) -> str:
    """The name under which a kind's schema is published."""
    if resource.schema:
        return resource.schema
    reverse = ".".join(reversed(resource.group.split(".")))
    return f"{reverse}.{resource.version}.{resource.kind}"


def _gvk(resource: Resource, suffix: str = "") -> Json:
    return {
        "group": resource.group, "kind": resource.kind + suffix, "version": resource.version,
    }  # fmt: skip


def published_schema(resource: Resource) -> Json:
    """A kind's schema as clients see it."""
    own: Json = resource.open_schema or BUILT_IN.get(resource.schema) or {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
    }  # fmt: skip
    base = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": OBJECT_META,
    }
    properties = own.get("properties", {}) | base
    return own | {
        "type": "object",
        "description": own.get("description", f"{resource.kind} of {resource.api_version}."),
        "properties": properties,
        "x-kubernetes-group-version-kind": [_gvk(resource)],
    }


def _list_schema(resource: Resource, name: str) -> Json:
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"$ref": f"{REFERENCE}{META}ListMeta"},
            "items": {"type": "array", "items": {"$ref": REFERENCE + name}},
        },
        "x-kubernetes-group-version-kind": [_gvk(resource, "List")],
    }


_LIST_META: Json = {
    "type": "object",
    "properties": {
        "continue": {"type": "string"},
        "remainingItemCount": {"type": "integer", "format": "int64"},
        "resourceVersion": {"type": "string"},
        "selfLink": {"type": "string"},
    },
}


def _collect(schema: Any, schemas: Json) -> None:
    """Adds every schema that this one refers to."""
    if isinstance(schema, list):
        for item in schema:
            _collect(item, schemas)
    elif isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            name = reference.removeprefix(REFERENCE)
            if name not in schemas:
                schemas[name] = BUILT_IN.get(name, _LIST_META)
                _collect(schemas[name], schemas)
        for value in schema.values():
            _collect(value, schemas)


def _paths(resource: Resource, name: str) -> Json:
    prefix = f"/{_path(resource.group, resource.version)}"
    if resource.namespaced:
        prefix += "/namespaces/{namespace}"
    reference = {"schema": {"$ref": REFERENCE + name}}
    parameters = [
        {"name": query, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for query in _QUERY
    ]
    operation: Json = {
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": reference}}},
        "x-kubernetes-group-version-kind": _gvk(resource),
    }
    writes = operation | {"requestBody": {"content": {"*/*": reference}}}
    return {
        f"{prefix}/{resource.plural}": {
            "get": operation | {"x-kubernetes-action": "list"},
            "post": writes | {"x-kubernetes-action": "post"},
        },
        f"{prefix}/{resource.plural}/{{name}}": {
            "get": operation | {"x-kubernetes-action": "get"},
            "put": writes | {"x-kubernetes-action": "put"},
            "patch": writes | {"x-kubernetes-action": "patch"},
            "delete": operation | {"x-kubernetes-action": "delete"},
        },
    }
