"""Deletes: grace for pods, finalizers, propagation, preconditions."""

import time
from typing import Any

import msgspec

from .errors import Cause, Json, bad_request, conflict, forbidden, invalid
from .objects import copy, timestamp
from .options import WriteOptions
from .resources import Resource
from .rest import Rest, is_finished, key_of
from .storage import Key

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_POLICIES = ("Background", "Foreground", "Orphan")
_PROTECTED = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


class DeleteOptions(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a delete."""

    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    preconditions: dict[str, str | None] | None = None
    dry_run: list[str] | None = None


def delete_options(body: Any, query: dict[str, str]) -> DeleteOptions:
    """Reads the options from the body, else from the query.

    Raises:
        StatusError: They are malformed (400) or not supported (422).
    """
    fields = dict(body) if isinstance(body, dict) else {}
    for name in ("gracePeriodSeconds", "propagationPolicy"):
        if name in query and name not in fields:
            fields[name] = query[name]
    try:
        options = msgspec.convert(fields, DeleteOptions, strict=False)
    except msgspec.ValidationError as error:
        raise bad_request(f"DeleteOptions: {error}") from error
    policy = options.propagation_policy
    if policy is not None and policy not in _POLICIES:
        text = f'Unsupported value: "{policy}": supported values: "Background", "Foreground", '
        cause = Cause("FieldValueNotSupported", text + '"Orphan"', "propagationPolicy")
        raise invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    return options


class Deleter:
    """Deletes objects through a `Rest`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._store = rest.store

    def delete(
        self, resource: Resource, key: Key, options: DeleteOptions, write: WriteOptions
    ) -> tuple[Json, bool]:
        """Removes an object, or marks it when somebody must finish first.

        Returns:
            The object, and whether it is gone.

        Raises:
            StatusError: It does not exist (404), a precondition fails (409), or it is
                protected (403).
        """
        old = self._rest.get(resource, key)
        self._check(resource, old, options)
        item = copy(old)
        metadata = item["metadata"]
        self._add_finalizers(metadata, options)
        grace = _grace_seconds(resource, item, options)
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = timestamp(time.time() + grace)
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata:
                metadata["generation"] += 1
        elif grace < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = timestamp(time.time() + grace)
            metadata["deletionGracePeriodSeconds"] = grace
        if resource.key == "namespaces":
            item.setdefault("status", {})["phase"] = "Terminating"
        gone = is_finished(resource, item)
        if write.dry_run or bool(options.dry_run):
            return item, gone
        self._rest.admit(resource, item, old)
        if gone:
            return self._store.delete(resource.key, key), True
        if item != old:
            self._store.put(resource.key, item)
        return item, False

    def _check(self, resource: Resource, item: Json, options: DeleteOptions) -> None:
        metadata = item["metadata"]
        for field, name in (("uid", "uid"), ("resourceVersion", "resourceVersion")):
            wanted = (options.preconditions or {}).get(field)
            if wanted is not None and wanted != metadata[name]:
                label = "UID" if field == "uid" else "ResourceVersion"
                why = (
                    f"Precondition failed: {label} in precondition: {wanted}, "
                    f"{label} in object meta: {metadata[name]}"
                )
                raise conflict(resource.group, resource.plural, metadata["name"], why)
        if resource.key == "namespaces" and metadata["name"] in _PROTECTED:
            raise forbidden("", "namespaces", metadata["name"], "this namespace may not be deleted")

    def _add_finalizers(self, metadata: Json, options: DeleteOptions) -> None:
        policy = options.propagation_policy
        if policy is None and options.orphan_dependents is not None:
            policy = "Orphan" if options.orphan_dependents else "Background"
        finalizers = list(metadata.get("finalizers") or [])
        wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(policy or "")
        if policy is not None:
            finalizers = [name for name in finalizers if name not in (FOREGROUND, ORPHAN)]
        if wanted:
            finalizers.append(wanted)
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)


def _grace_seconds(resource: Resource, item: Json, options: DeleteOptions) -> int:
    """How long the object may take to go: only pods on a node may."""
    if resource.key != "pods":
        return 0
    spec, phase = item.get("spec", {}), (item.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if options.grace_period_seconds is not None:
        return max(0, options.grace_period_seconds)
    return int(spec.get("terminationGracePeriodSeconds", 30))


def delete_all(
    deleter: Deleter,
    resource: Resource,
    items: list[Json],
    options: DeleteOptions,
    write: WriteOptions,
) -> list[Json]:
    """Deletes each of the objects; those that vanish meanwhile do not matter."""
    return [deleter.delete(resource, key_of(item), options, write)[0] for item in items]
