"""Writes the CustomResourceDefinitions that the agent installs, from tables of facts.

    python tools/crds.py FACTS src/cilia/agent/crds

FACTS holds crds.tsv (kinds and versions), crd-fields.tsv (one line a field: path,
type, required, constraints) and crd-columns.tsv (what kubectl prints). Paths use
`[]` for an array's item and `{}` for a map's value.
"""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

SCHEMA_VERSION = "1.32.6.1"
"""Of the facts, and then our own count: a cluster that has the fourth number has our fields."""
Schema = dict[str, Any]
Row = dict[str, str]

NUMBERS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
TYPES = {"rules.l7": "array<map<string,string>>"}
"""What the facts say too vaguely, by the end of the path."""
PATTERNS = {r"^\PC*$": r"^[^\x00-\x1f\x7f-\x9f]*$"}
"""Patterns that only RE2 understands, in a form that every engine does."""
POLICY_KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
NODE_STATUS: Schema = {
    "type": "object",
    "properties": {
        "observedGeneration": {"type": "integer", "format": "int64"},
        "endpoints": {"type": "integer"},
        "enforced": {"type": "integer"},
        "revision": {"type": "integer", "format": "int64"},
        "missing": {"type": "array", "items": {"type": "string"}},
        "message": {"type": "string"},
    },
}
"""What each node says of a policy, beyond the facts."""
OWN_COLUMN: Schema = {"name": "Enforced", "type": "string", "jsonPath": ".status.enforced"}
EXTENSIONS = {
    "list-type": "x-kubernetes-list-type",
    "map-type": "x-kubernetes-map-type",
}


def read(path: Path) -> list[Row]:
    """Returns a TSV's lines by column name."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def typed(kind: str) -> Schema:
    """Returns the schema of a type alone."""
    if kind == "int-or-string":
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
        }
    if kind.startswith("array<"):
        return {"type": "array", "items": typed(kind[6:-1])}
    if kind.startswith("map<"):
        return {"type": "object", "additionalProperties": typed(kind[4:-1].split(",", 1)[1])}
    return {"type": kind}


def plain(text: str, schema: Schema) -> Any:
    """Returns a default or enum member as a value of the schema's type."""
    return text if schema.get("type") == "string" else json.loads(text)


def constrain(schema: Schema, text: str) -> None:
    """Adds the constraints of one field to its schema."""
    target = schema
    for part in filter(None, (piece.strip() for piece in text.split(" ; "))):
        if part.startswith("items: "):
            target, part = schema["items"], part[7:]
        elif part.startswith("values: "):
            target, part = schema["additionalProperties"], part[8:]
        name, _, value = part.partition("=")
        if name in NUMBERS:
            target[name] = int(value)
        elif name == "enum":
            target["enum"] = [plain(member, target) for member in value.split("|")]
        elif name == "default":
            target["default"] = plain(value, target)
        elif name in ("oneOf", "anyOf"):
            target[name] = json.loads(value)
        elif name == "cel":
            target.setdefault("x-kubernetes-validations", []).append({"rule": value})
        elif name == "list-map-keys":
            target["x-kubernetes-list-map-keys"] = value.split(",")
        elif name == "preserve-unknown":
            target["x-kubernetes-preserve-unknown-fields"] = True
        elif name in EXTENSIONS:
            target[EXTENSIONS[name]] = value
        elif name == "format":
            target[name] = value
        elif name == "pattern":
            target[name] = PATTERNS.get(value, value)
        else:
            raise ValueError(f"constraint {part!r} is not known")


def descend(root: Schema, path: str) -> tuple[Schema, str]:
    """Returns the schema that holds the last step of a path, and that step's name."""
    schema = root
    steps = path.split(".")
    for step in steps[:-1]:
        name = step.rstrip("[]{}")
        schema = schema["properties"][name]
        for mark in range(0, len(step) - len(name), 2):
            inner = step[len(name) + mark : len(name) + mark + 2]
            schema = schema["items"] if inner == "[]" else schema["additionalProperties"]
    return schema, steps[-1]


def put(root: Schema, row: Row) -> None:
    """Adds one field to a kind's schema."""
    parent, step = descend(root, row["path"])
    name = step.rstrip("[]{}")
    if step != name:
        inner = parent["properties"][name]
        constrain(
            inner["items"] if step.endswith("[]") else inner["additionalProperties"],
            row["constraints"],
        )
        return
    told = [kind for end, kind in TYPES.items() if row["path"].endswith(end)]
    schema = typed(*told or [row["type"]])
    constrain(schema, row["constraints"])
    parent.setdefault("properties", {})[name] = schema
    if row["required"]:
        parent.setdefault("required", []).append(name)


def open_leaves(schema: Schema) -> None:
    """Lets objects of which no field is declared hold anything."""
    if schema.get("type") == "object" and not schema.keys() & {
        "properties",
        "additionalProperties",
    }:
        schema.setdefault("x-kubernetes-preserve-unknown-fields", True)
    for inner in schema.get("properties", {}).values():
        open_leaves(inner)
    for member in ("items", "additionalProperties"):
        if isinstance(schema.get(member), dict):
            open_leaves(schema[member])


def schemas(fields: list[Row]) -> dict[tuple[str, str], Schema]:
    """Returns each (kind, version)'s schema."""
    rows = defaultdict(list)
    for row in fields:
        rows[row["kind"], row["version"]].append(row)
    made: dict[tuple[str, str], Schema] = {}
    for key, members in rows.items():
        root: Schema = {
            "type": "object",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
            },
            "required": ["metadata"],
        }
        for row in members:
            if row["constraints"].startswith("schema identical to "):
                other = row["constraints"].split()[3]
                root = made[other, key[1]]
            elif row["type"] == "same-as":
                spec, rest = root["properties"]["spec"], root["properties"]["specs"]
                rest["items"] = {**spec, **rest["items"]}
            else:
                put(root, row)
        open_leaves(root)
        del_metadata_leaf(root)
        if key[0] in POLICY_KINDS:
            add_enforcement(root)
        made[key] = root
    return made


def add_enforcement(root: Schema) -> None:
    """Adds where nodes say how many of their endpoints enforce a policy."""
    status = root["properties"]["status"]["properties"]
    status["enforced"] = {"type": "string"}
    status["nodes"] = {"type": "object", "additionalProperties": NODE_STATUS}


def del_metadata_leaf(root: Schema) -> None:
    """The API server itself knows metadata; a schema must not open it."""
    root["properties"]["metadata"] = {"type": "object"}


def definition(
    kind: str, versions: list[Row], known: dict[Any, Schema], columns: list[Row]
) -> Schema:
    """Returns one CustomResourceDefinition."""
    first = versions[0]
    names: Schema = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": first["plural"],
        "singular": first["singular"],
    }
    for member in ("shortNames", "categories"):
        if first[member]:
            names[member] = first[member].split(",")
    served = []
    for row in versions:
        version: Schema = {
            "name": row["version"],
            "served": row["served"] == "yes",
            "storage": row["storage"] == "yes",
            "schema": {"openAPIV3Schema": known.get((kind, row["version"])) or known[kind, "v2"]},
        }
        if row["deprecated"]:
            version["deprecated"] = True
        if row["subresources"]:
            version["subresources"] = {"status": {}}
        printed = [
            column(c) for c in columns if (c["kind"], c["version"]) == (kind, row["version"])
        ]
        if kind in POLICY_KINDS:
            printed.append(OWN_COLUMN)
        if printed:
            version["additionalPrinterColumns"] = printed
        served.append(version)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{first['plural']}.{first['group']}",
            "labels": {"io.cilium.k8s.crd.schema.version": SCHEMA_VERSION},
        },
        "spec": {
            "group": first["group"],
            "names": names,
            "scope": first["scope"],
            "versions": served,
        },
    }


def column(row: Row) -> Schema:
    """Returns one printer column."""
    made: Schema = {"name": row["column"], "type": row["type"], "jsonPath": row["jsonPath"]}
    if row["format"]:
        made["format"] = row["format"]
    if row["priority"] not in ("", "0"):
        made["priority"] = int(row["priority"])
    return made


def main(facts: Path, target: Path) -> None:
    """Writes one JSON file a kind."""
    target.mkdir(parents=True, exist_ok=True)
    known = schemas(read(facts / "crd-fields.tsv"))
    columns = read(facts / "crd-columns.tsv")
    kinds = defaultdict(list)
    for row in read(facts / "crds.tsv"):
        kinds[row["kind"]].append(row)
    for kind, versions in kinds.items():
        made = definition(kind, versions, known, columns)
        path = target / f"{versions[0]['plural']}.json"
        path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
