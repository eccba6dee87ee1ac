"""Deployments: ReplicaSets per revision of a template, moved from one to the next.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

import hashlib
import json
from datetime import datetime
from typing import Any

from cilia.lab.controllers.cluster import (
    DEPLOYMENTS,
    REPLICASETS,
    Change,
    Cluster,
    Create,
    Object,
    annotations_of,
    deletion_of,
    is_terminating,
    labels_of,
    owner_reference,
    patch_of,
)
from cilia.lab.controllers.deployment_status import deployment_status
from cilia.lab.controllers.replicaset import wanted_replicas
from cilia.lab.controllers.rollout import Generation, Limits, limits, recreate, rolling

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_HASH_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_DEFAULT_HISTORY = 10


def deployment_changes(cluster: Cluster, now: datetime) -> list[Change]:
    """Creations, scaling, clean-up and status for every Deployment."""
    changes: list[Change] = []
    for item in cluster.all(DEPLOYMENTS):
        if not is_terminating(item):
            changes += _changes(item, list(cluster.owned(REPLICASETS, item)), now)
    return changes


def template_hash(template: Object) -> str:
    """A short name for a pod template: equal templates have equal names."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_HASH_LETTERS[byte % len(_HASH_LETTERS)] for byte in digest[:10])


def revision_of(item: Object) -> int:
    """The revision in an object's annotation; 0 when it has none."""
    text = annotations_of(item).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def bounds_of(item: Object) -> Limits:
    """What a Deployment's rolling update must hold to; 25% both ways by default."""
    rolling_update = (item["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    return limits(
        wanted_replicas(item),
        rolling_update.get("maxSurge", "25%"),
        rolling_update.get("maxUnavailable", "25%"),
    )


def _changes(item: Object, sets: list[Object], now: datetime) -> list[Change]:
    wanted = template_hash(item["spec"]["template"])
    current = next((one for one in sets if labels_of(one).get(HASH_LABEL) == wanted), None)
    old = sorted(
        (one for one in sets if one is not current and not is_terminating(one)), key=revision_of
    )
    newest = max((revision_of(one) for one in old), default=0)
    if current is None:
        if item["spec"].get("paused"):
            return _status(item, None, old, now)
        return [Create(REPLICASETS, new_replicaset(item, wanted, newest + 1, old))]
    changes = _revision(current, newest)
    if not changes:
        changes += _scale(item, current, old)
    changes += _history(item, old)
    return changes + _status(item, current, old, now)


def new_replicaset(item: Object, name_hash: str, revision: int, old: list[Object]) -> Object:
    """The ReplicaSet for a Deployment's present template."""
    spec, metadata = item["spec"], item["metadata"]
    template = spec["template"]
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: name_hash}
    selector = dict(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: name_hash}
    kept = {key: text for key, text in annotations_of(item).items() if key != _LAST_APPLIED}
    replicas = _first_replicas(item, old)
    return {
        "apiVersion": REPLICASETS.api_version,
        "kind": REPLICASETS.kind,
        "metadata": {
            "name": f"{metadata['name']}-{name_hash}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": kept | {REVISION: str(revision)},
            "ownerReferences": [owner_reference(DEPLOYMENTS, item)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.get("minReadySeconds") or 0,
            "selector": selector,
            "template": {
                **template,
                "metadata": {**(template.get("metadata") or {}), "labels": labels},
            },
        },
    }


def _first_replicas(item: Object, old: list[Object]) -> int:
    first = Generation(0, 0, 0)
    after = _next(item, first, [_generation(one) for one in old])[0]
    return after or 0


def _next(item: Object, new: Generation, old: list[Generation]) -> tuple[int | None, list[int]]:
    if (item["spec"].get("strategy") or {}).get("type") == "Recreate":
        return recreate(wanted_replicas(item), old)
    return rolling(bounds_of(item), new, old)


def _generation(item: Object) -> Generation:
    status = item.get("status") or {}
    return Generation(
        wanted_replicas(item), status.get("availableReplicas") or 0, status.get("replicas") or 0
    )


def _revision(current: Object, newest_old: int) -> list[Change]:
    """A rolled-back template becomes the newest revision again."""
    if revision_of(current) > newest_old:
        return []
    annotations = {REVISION: str(newest_old + 1)}
    return [patch_of(REPLICASETS, current, {"metadata": {"annotations": annotations}})]


def _scale(item: Object, current: Object, old: list[Object]) -> list[Change]:
    if item["spec"].get("paused"):
        active = [one for one in (current, *old) if wanted_replicas(one) > 0]
        only = active[0] if len(active) == 1 else current
        return _resize(only, wanted_replicas(item)) if len(active) <= 1 else []
    new_count, old_counts = _next(item, _generation(current), [_generation(one) for one in old])
    changes = [] if new_count is None else _resize(current, new_count)
    for one, count in zip(old, old_counts, strict=True):
        changes += _resize(one, count)
    return changes


def _resize(item: Object, replicas: int) -> list[Change]:
    if wanted_replicas(item) == replicas:
        return []
    return [patch_of(REPLICASETS, item, {"spec": {"replicas": replicas}})]


def _history(item: Object, old: list[Object]) -> list[Change]:
    """Deletes the oldest empty ReplicaSets beyond the history that is kept."""
    kept = item["spec"].get("revisionHistoryLimit")
    empty = [
        one
        for one in old
        if wanted_replicas(one) == 0 and not (one.get("status") or {}).get("replicas")
    ]
    surplus = len(empty) - (_DEFAULT_HISTORY if kept is None else int(kept))
    return [deletion_of(REPLICASETS, one) for one in empty[: max(0, surplus)]]


def _status(item: Object, current: Object | None, old: list[Object], now: datetime) -> list[Change]:
    changes: list[Change] = []
    if current is not None and revision_of(item) != revision_of(current):
        annotations: dict[str, Any] = {REVISION: str(revision_of(current))}
        changes.append(patch_of(DEPLOYMENTS, item, {"metadata": {"annotations": annotations}}))
    status = deployment_status(item, current, old, bounds_of(item), now)
    if changes or status is None:
        return changes
    return [patch_of(DEPLOYMENTS, item, {"status": status}, "status")]
