"""CustomResourceDefinitions: what they must be, and the resources they make."""

from .definition_schema import schema_problems
from .errors import Cause, Json
from .jsonpath import parse
from .objects import copy, timestamp
from .resources import Column, Registry, Resource
from .storage import Store

KEY = "customresourcedefinitions.apiextensions.k8s.io"


def defined_resources(item: Json) -> list[Resource]:
    """The resources of a definition, one for each version that it serves."""
    spec = item["spec"]
    names = spec["names"]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    made = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        made.append(
            Resource(
                group=spec["group"],
                version=version["name"],
                kind=names["kind"],
                plural=names["plural"],
                singular=names.get("singular") or names["kind"].lower(),
                namespaced=spec.get("scope") == "Namespaced",
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                subresources=tuple(sorted(subresources)),
                open_schema=(version.get("schema") or {}).get("openAPIV3Schema") or {},
                columns=_columns(version),
                scale=subresources.get("scale"),
                selectable=tuple(
                    field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or []
                ),
                storage_version=storage,
            )
        )
    return made


def _columns(version: Json) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=column["name"],
            type=column["type"],
            path=column["jsonPath"],
            description=column.get("description", ""),
            priority=column.get("priority", 0),
        )
        for column in version.get("additionalPrinterColumns") or []
    )


def definition_causes(item: Json) -> list[Cause]:
    """Every rule that a definition breaks."""
    spec = item.get("spec") or {}
    names = spec.get("names") or {}
    causes = [
        Cause("FieldValueRequired", "Required value", f"spec.{field}")
        for field in ("group", "scope", "versions")
        if not spec.get(field)
    ]
    causes += [
        Cause("FieldValueRequired", "Required value", f"spec.names.{field}")
        for field in ("plural", "kind")
        if not names.get(field)
    ]
    if causes:
        return causes
    expected = f"{names['plural']}.{spec['group']}"
    name = item["metadata"]["name"]
    if name != expected:
        text = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        causes.append(Cause("FieldValueInvalid", text, "metadata.name"))
    if spec["scope"] not in ("Namespaced", "Cluster"):
        text = f'Unsupported value: "{spec["scope"]}": supported values: "Cluster", "Namespaced"'
        causes.append(Cause("FieldValueNotSupported", text, "spec.scope"))
    stored = [version for version in spec["versions"] if version.get("storage")]
    if len(stored) != 1:
        text = "Invalid value: must have exactly one version marked as storage version"
        causes.append(Cause("FieldValueInvalid", text, "spec.versions"))
    for index, version in enumerate(spec["versions"]):
        causes += _version_causes(version, f"spec.versions[{index}]")
    return causes


def _version_causes(version: Json, path: str) -> list[Cause]:
    causes = []
    if not version.get("name"):
        causes.append(Cause("FieldValueRequired", "Required value", f"{path}.name"))
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    place = f"{path}.schema.openAPIV3Schema"
    if schema is None:
        causes.append(Cause("FieldValueRequired", "Required value: schemas are required", place))
    else:
        causes += schema_problems(schema, place)
    for index, column in enumerate(version.get("additionalPrinterColumns") or []):
        place = f"{path}.additionalPrinterColumns[{index}]"
        for field in ("name", "type", "jsonPath"):
            if not column.get(field):
                causes.append(Cause("FieldValueRequired", "Required value", f"{place}.{field}"))
        try:
            parse(str(column.get("jsonPath", "")))
        except ValueError as error:
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {error}", place))
    return causes


def established(item: Json) -> Json:
    """The definition with the status of one that is served."""
    names = dict(item["spec"]["names"])
    now = timestamp()
    stored = next(entry["name"] for entry in item["spec"]["versions"] if entry.get("storage"))
    status = item.get("status") or {}
    versions = list(dict.fromkeys([*(status.get("storedVersions") or []), stored]))
    since = {entry["type"]: entry["lastTransitionTime"] for entry in status.get("conditions") or []}
    conditions = [
        {
            "type": kind,
            "status": "True",
            "lastTransitionTime": since.get(kind, now),
            "reason": reason,
            "message": message,
        }
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    status = {"acceptedNames": names, "conditions": conditions, "storedVersions": versions}
    return copy(item) | {"status": status}


class Definitions:
    """Keeps the registry in step with the definitions in the store."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def load(self) -> None:
        """Serves every definition that the store holds."""
        for item in self._store.items(KEY):
            self._registry.define(item["metadata"]["name"], defined_resources(item))

    def admit(self, resource: Resource, item: Json, old: Json | None) -> None:
        """Makes a definition that is written an established one, in the same write."""
        if resource.key == KEY and "deletionTimestamp" not in item["metadata"]:
            item["status"] = established(item)["status"]

    def follow(self) -> None:
        """After a write of a definition: serves what it defines now."""
        wanted = {item["metadata"]["name"]: item for item in self._store.items(KEY)}
        for resource in self._registry.all():
            if resource.is_defined and resource.key not in wanted:
                self._registry.define(resource.key, [])
        for name, item in wanted.items():
            self._registry.define(name, defined_resources(item))
