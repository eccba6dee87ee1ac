"""Writes the lab API server's schemas of Kubernetes' built-in kinds.

    python tools/kubernetes_schemas/generate.py CLIENT_GO API > .../builtin.json

Field names, types, merge keys and list kinds are read from the public Go
modules k8s.io/client-go (applyconfigurations/internal) and k8s.io/api
(`types.go`), both of one Kubernetes release (`go mod download`). No prose is
taken over. Output: a JSON object, type name -> OpenAPI v3 schema, references as
`{"$ref": "#/components/schemas/<type name>"}`.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

GROUPS = (
    "apps.v1", "batch.v1", "coordination.v1", "core.v1", "discovery.v1",
    "events.v1", "networking.v1", "policy.v1", "rbac.v1",
)  # fmt: skip
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
SPECIAL: dict[str, dict[str, Any]] = {
    META + "Time": {"type": "string", "format": "date-time"},
    META + "MicroTime": {"type": "string", "format": "date-time"},
    META + "FieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "format": "quantity"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "type": "string", "format": "int-or-string", "x-kubernetes-int-or-string": True,
    },
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
    },
}  # fmt: skip
SCALARS = {"string": "string", "boolean": "boolean", "numeric": "integer"}
FIELD = re.compile(r'^\t(\w+)\s+(\S+)\s+`json:"(\w+)(,omitempty)?[^"]*"(.*)`')


def go_fields(api: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """(group.version, type, field) -> Go type, and the tags that matter."""
    fields: dict[tuple[str, str, str], dict[str, str]] = {}
    for group in GROUPS:
        name, optional, markers = "", False, ""
        for line in (api / group.replace(".", "/") / "types.go").read_text().splitlines():
            if struct := re.match(r"^type (\w+) struct", line):
                name = struct[1]
            elif line.lstrip().startswith("//"):
                optional |= "+optional" in line
                markers += line
            elif field := FIELD.match(line):
                tags = dict(re.findall(r'(patch\w+):"([^"]*)"', field[5]))
                required = not field[4] and not optional
                fields[group, name, field[3]] = {"go": field[2], **tags} | (
                    {"required": ""} if required else {}
                )
            if not line.lstrip().startswith("//"):
                optional, markers = False, ""
    return fields


def convert(node: dict[str, Any]) -> dict[str, Any]:
    """A structured-merge-diff type as an OpenAPI schema."""
    if name := node.get("namedType"):
        ref: dict[str, Any] = {"$ref": "#/components/schemas/" + name}
        if node.get("elementRelationship") == "atomic":
            return {"allOf": [ref], "x-kubernetes-map-type": "atomic"}
        return ref
    if "list" in node:
        items = node["list"]
        schema: dict[str, Any] = {"type": "array", "items": convert(items["elementType"])}
        if items["elementRelationship"] == "atomic":
            schema["x-kubernetes-list-type"] = "atomic"
        elif keys := items.get("keys"):
            schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
        else:
            schema["x-kubernetes-list-type"] = "set"
        return schema
    if "map" in node:
        inner = node["map"]
        schema = {"type": "object"}
        if "elementType" in inner:
            schema["additionalProperties"] = convert(inner["elementType"])
        if inner.get("elementRelationship") == "atomic":
            schema["x-kubernetes-map-type"] = "atomic"
        return schema
    scalar = SCALARS.get(node.get("scalar", ""))
    return {"type": scalar} if scalar else {"x-kubernetes-preserve-unknown-fields": True}


def object_schema(
    name: str, node: dict[str, Any], tags: dict[tuple[str, str, str], dict[str, str]]
) -> dict[str, Any]:
    """The schema of one named struct, with what only the Go tags know."""
    group, _, kind = name.removeprefix("io.k8s.api.").rpartition(".")
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    required = []
    for field in node["map"]["fields"]:
        tag = tags.get((group, kind, field["name"]), {})
        prop = convert(field["type"])
        if tag.get("go") in ("int32", "*int32", "int64", "*int64"):
            prop["format"] = tag["go"].lstrip("*")
        if tag.get("go") == "[]byte":
            prop["format"] = "byte"
        if tag.get("go") == "map[string][]byte":
            prop["additionalProperties"]["format"] = "byte"
        if field.get("default") not in (None, "", 0, False, {}):
            prop["default"] = field["default"]
        if key := tag.get("patchMergeKey"):
            prop["x-kubernetes-patch-merge-key"] = key
        if strategy := tag.get("patchStrategy"):
            prop["x-kubernetes-patch-strategy"] = strategy
        if "required" in tag:
            required.append(field["name"])
        schema["properties"][field["name"]] = prop
    if node["map"].get("elementRelationship") == "atomic":
        schema["x-kubernetes-map-type"] = "atomic"
    if required:
        schema["required"] = sorted(required)
    return schema


def main() -> None:
    """Prints the schemas of all groups in `GROUPS`."""
    client_go, api = Path(sys.argv[1]), Path(sys.argv[2])
    source = (client_go / "applyconfigurations/internal/internal.go").read_text()
    text = source.split("typed.YAMLObject(`", 1)[1].rsplit("`)", 1)[0]
    tags = go_fields(api)
    schemas: dict[str, Any] = {}
    for entry in yaml.load(text, yaml.CSafeLoader)["types"]:
        name = entry["name"]
        wanted = name.startswith("io.k8s.apimachinery") or any(
            name.startswith(f"io.k8s.api.{group}.") for group in GROUPS
        )
        if name in SPECIAL:
            schemas[name] = SPECIAL[name]
        elif wanted and "fields" in entry.get("map", {}):
            schemas[name] = object_schema(name, entry, tags)
        elif wanted:
            schemas[name] = convert(entry)
    meta = schemas[META + "ObjectMeta"]["properties"]
    meta["finalizers"]["x-kubernetes-patch-strategy"] = "merge"
    meta["ownerReferences"] |= {
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": "uid",
    }
    json.dump(schemas, sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
