"""Server-side apply: who set which field, conflicts, and fields that nobody sets any more.

As in Kubernetes, ownership is tracked from an object's first apply on; all
that was set before belongs to the manager `before-first-apply`.

Source:
    https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import msgspec

from .errors import Json, StatusError
from .fieldset import (
    FieldPath,
    decode_fields,
    encode_fields,
    field_set,
    merge,
    remove,
    shown_path,
    value_at,
)
from .objects import timestamp
from .options import WriteOptions

BEFORE = "before-first-apply"
_STRIPPED = (
    ("f:apiVersion",), ("f:kind",), ("f:metadata",), ("f:metadata", "f:name"),
    ("f:metadata", "f:namespace"), ("f:metadata", "f:uid"), ("f:metadata", "f:generation"),
    ("f:metadata", "f:creationTimestamp"), ("f:metadata", "f:resourceVersion"),
    ("f:metadata", "f:managedFields"), ("f:metadata", "f:selfLink"),
    ("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:deletionGracePeriodSeconds"),
)  # fmt: skip


class Owner(msgspec.Struct, frozen=True):
    """A manager, in one way of writing."""

    manager: str
    operation: str
    """`Apply` or `Update`."""
    subresource: str


Owners = dict[Owner, set[FieldPath]]


def tracked(item: Json, schema: Json, part: str) -> set[FieldPath]:
    """The fields of an object that managers may own, through a subresource or without."""
    paths = field_set(item, schema)
    return {
        path
        for path in paths
        if path not in _STRIPPED
        and path[:2] != ("f:metadata", "f:managedFields")
        and (path[0] == "f:status") is (part == "status")
    }


def _owners(item: Json) -> Owners:
    found: Owners = {}
    for entry in item["metadata"].get("managedFields") or []:
        owner = Owner(
            entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", "")
        )
        found[owner] = found.get(owner, set()) | decode_fields(entry.get("fieldsV1"))
    return found


def _entries(owners: Owners, item: Json, api_version: str) -> list[Json]:
    """`managedFields`: entries that did not change keep their time."""
    before = {}
    for entry in item["metadata"].get("managedFields") or []:
        owner = Owner(
            entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", "")
        )
        before[owner] = entry
    entries = []
    for owner, paths in owners.items():
        if not paths:
            continue
        fields = encode_fields(paths)
        previous = before.get(owner)
        if previous is not None and previous.get("fieldsV1") == fields:
            entries.append(previous)
            continue
        entry = {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": api_version,
            "time": timestamp(),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        entries.append(entry | ({"subresource": owner.subresource} if owner.subresource else {}))
    return entries


def apply_patch(
    old: Json | None, config: Json, schema: Json, options: WriteOptions, part: str
) -> tuple[Json, list[Json]]:
    """An object with a manager's configuration applied.

    Args:
        old: The object; None when there is none yet.
        config: All that the manager wants to set.
        schema: The kind's schema.
        options: Manager, and whether it takes over what others own.
        part: `status`, or empty.

    Returns:
        The new object, and its `managedFields`.

    Raises:
        StatusError: Other managers own fields with other values (409).
    """
    wanted = tracked(config, schema, part)
    owner = Owner(options.manager, "Apply", part)
    metadata = {key: value for key, value in config["metadata"].items() if key != "managedFields"}
    config = config | {"metadata": metadata}
    if old is None:
        base: Json = {"metadata": {}}
        return config, _entries({owner: wanted}, base, config["apiVersion"])
    owners = _owners(old)
    if not owners:
        owners[Owner(BEFORE, "Update", "")] = tracked(old, schema, "")
    merged = merge(old, config, schema)
    changed = {
        path
        for path in wanted
        if not path[-1].startswith("k:")
        and value_at(old, schema, path) != value_at(merged, schema, path)
    }
    _resolve_conflicts(owners, owner, changed, config["apiVersion"], force=options.force)
    merged = _without_dropped(merged, schema, owners, owner, wanted)
    owners[owner] = wanted
    return merged, _entries(owners, old, config["apiVersion"])


def _without_dropped(
    merged: Json, schema: Json, owners: Owners, owner: Owner, wanted: set[FieldPath]
) -> Json:
    """The object without what its manager set before and nobody sets now."""
    others: set[FieldPath] = set()
    for other, paths in owners.items():
        if other != owner:
            others |= paths
    dropped = owners.get(owner, set()) - wanted - others
    for path in sorted(dropped & field_set(merged, schema), key=len, reverse=True):
        if not any(other[: len(path)] == path for other in others | wanted):
            merged = remove(merged, schema, path)
    return merged


def _resolve_conflicts(
    owners: Owners, owner: Owner, changed: set[FieldPath], api_version: str, *, force: bool
) -> None:
    """Takes the fields that change over from their owners, or refuses to."""
    conflicts = [
        (other, path)
        for other, paths in owners.items()
        if other != owner
        for path in sorted(paths & changed)
    ]
    if conflicts and not force:
        raise _conflict(conflicts, api_version)
    for other, path in conflicts:
        owners[other].discard(path)


def _conflict(conflicts: list[tuple[Owner, FieldPath]], api_version: str) -> StatusError:
    causes = []
    for other, path in conflicts:
        through = f" with subresource {other.subresource!r}" if other.subresource else ""
        text = f'conflict with "{other.manager}"{through} using {api_version}'
        causes.append(
            {"reason": "FieldManagerConflict", "message": text, "field": shown_path(path)}
        )
    plural = "s" if len(causes) > 1 else ""
    told = "\n".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    message = f"Apply failed with {len(causes)} conflict{plural}: {told}"
    return StatusError(409, "Conflict", message, {"causes": causes})


def record_update(old: Json, item: Json, schema: Json, options: WriteOptions, part: str) -> None:
    """Moves the fields that an update changed to its manager, in the new object's metadata.

    Args:
        old: The object before.
        item: The object after; changed in place.
        schema: The kind's schema.
        options: Who updates.
        part: `status`, or empty.
    """
    given = item["metadata"].get("managedFields")
    if not given or given == [{}]:
        item["metadata"].pop("managedFields", None)
        return
    if item == old:
        return
    now, before = tracked(item, schema, part), tracked(old, schema, part)
    changed = {
        path
        for path in now
        if path not in before or value_at(item, schema, path) != value_at(old, schema, path)
    }
    owners = _owners(item)
    owner = Owner(options.manager, "Update", part)
    applied = given != old["metadata"].get("managedFields")
    if applied:
        # An apply has written its own entries; what defaults added belongs to nobody.
        return
    gone = before - now
    for other in owners:
        owners[other] -= gone | changed
    if changed:
        owners[owner] = owners.get(owner, set()) | changed
    item["metadata"]["managedFields"] = _entries(owners, old, item["apiVersion"])
