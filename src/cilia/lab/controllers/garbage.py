"""Garbage collection: what an object made goes with it.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from cilia.lab.controllers.cluster import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICES,
    Change,
    Cluster,
    Object,
    Resource,
    deletion_of,
    is_terminating,
    patch_of,
)

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_OWNERS = {one.kind: one for one in (DEPLOYMENTS, REPLICASETS, PODS, SERVICES, NODES)}
_OWNED = (REPLICASETS, PODS, ENDPOINT_SLICES)


def garbage_changes(cluster: Cluster) -> list[Change]:
    """Deletes what only dead owners hold, and lets go owners that wait for it."""
    alive = {
        (resource.kind, item["metadata"]["uid"])
        for resource in _OWNERS.values()
        for item in cluster.all(resource)
    }
    changes: list[Change] = []
    for resource in _OWNED:
        for item in cluster.all(resource):
            if not is_terminating(item) and _is_orphaned(item, alive):
                changes.append(deletion_of(resource, item))
    for resource in _OWNERS.values():
        for owner in cluster.all(resource):
            if is_terminating(owner):
                changes += _release(cluster, resource, owner)
    return changes


def _is_orphaned(item: Object, alive: set[tuple[str, str]]) -> bool:
    """Whether it has owners, all of kinds that we watch, and none of them is there."""
    references = item["metadata"].get("ownerReferences") or []
    return bool(references) and all(
        one["kind"] in _OWNERS and (one["kind"], one["uid"]) not in alive for one in references
    )


def _release(cluster: Cluster, resource: Resource, owner: Object) -> list[Change]:
    finalizers = owner["metadata"].get("finalizers") or []
    held = [
        (kind, item)
        for kind in _OWNED
        for item in cluster.all(kind, owner["metadata"].get("namespace", ""))
        if _refers(item, owner)
    ]
    changes: list[Change] = []
    if ORPHAN in finalizers:
        for kind, item in held:
            kept = [
                one
                for one in item["metadata"]["ownerReferences"]
                if one["uid"] != owner["metadata"]["uid"]
            ]
            changes.append(patch_of(kind, item, {"metadata": {"ownerReferences": kept}}))
        return changes or [_without(resource, owner, ORPHAN)]
    if FOREGROUND in finalizers:
        for kind, item in held:
            if not is_terminating(item):
                changes.append(deletion_of(kind, item))
        return changes if held else [_without(resource, owner, FOREGROUND)]
    return []


def _refers(item: Object, owner: Object) -> bool:
    references = item["metadata"].get("ownerReferences") or []
    return any(one["uid"] == owner["metadata"]["uid"] for one in references)


def _without(resource: Resource, owner: Object, finalizer: str) -> Change:
    kept = [one for one in owner["metadata"]["finalizers"] if one != finalizer]
    return patch_of(resource, owner, {"metadata": {"finalizers": kept}})
