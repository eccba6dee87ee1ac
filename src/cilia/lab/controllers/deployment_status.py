"""What a Deployment says of itself; `kubectl rollout status` reads it.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from datetime import datetime, timedelta

from cilia.lab.controllers.cluster import Object
from cilia.lab.controllers.pod import parse_time, render_time
from cilia.lab.controllers.replicaset import wanted_replicas
from cilia.lab.controllers.rollout import Limits

_DEFAULT_DEADLINE_S = 600


def deployment_status(
    item: Object, current: Object | None, old: list[Object], bounds: Limits, now: datetime
) -> Object | None:
    """The status that a Deployment should have; None: it has it.

    Args:
        item: The Deployment.
        current: The ReplicaSet of its present template, if there is one yet.
        old: Its other ReplicaSets.
        bounds: What its rolling update must hold to.
        now: Becomes the time of what changes.
    """
    known = item.get("status") or {}
    status = counts(item, current, old)
    conditions = [
        _condition(known, "Available", *_available(status, bounds), now),
        _progress(item, known, status, now),
    ]
    status["conditions"] = conditions
    if all(known.get(name) == value for name, value in status.items()):
        return None
    return status


def counts(item: Object, current: Object | None, old: list[Object]) -> Object:
    """The replica counts of a Deployment's status."""
    sets = [one.get("status") or {} for one in ([current] if current else []) + old]
    available = sum(one.get("availableReplicas") or 0 for one in sets)
    updated = (current.get("status") or {}).get("replicas") or 0 if current else 0
    total = sum(one.get("replicas") or 0 for one in sets)
    return {
        "observedGeneration": item["metadata"].get("generation", 1),
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": sum(one.get("readyReplicas") or 0 for one in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(total, wanted_replicas(item)) - available),
    }


def is_complete(item: Object, status: Object) -> bool:
    """Whether every replica is of the present template and available."""
    wanted = wanted_replicas(item)
    return bool(
        status["updatedReplicas"] == wanted
        and status["replicas"] == wanted
        and status["availableReplicas"] == wanted
    )


def _available(status: Object, bounds: Limits) -> tuple[str, str, str]:
    if status["availableReplicas"] >= bounds.replicas - bounds.unavailable:
        return "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
    return "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."


def _progress(item: Object, known: Object, status: Object, now: datetime) -> Object:
    name = item["metadata"]["name"]
    if is_complete(item, status):
        words = f'Deployment "{name}" has successfully progressed.'
        return _condition(known, "Progressing", "True", "NewReplicaSetAvailable", words, now)
    before = _known_condition(known, "Progressing")
    moved = any(known.get(field) != value for field, value in status.items())
    since = parse_time(before["lastUpdateTime"]) if before else now
    deadline_s = item["spec"].get("progressDeadlineSeconds") or _DEFAULT_DEADLINE_S
    late = before is not None and now - since > timedelta(seconds=deadline_s)
    if not moved and late:
        words = f'Deployment "{name}" has timed out progressing.'
        return _condition(known, "Progressing", "False", "ProgressDeadlineExceeded", words, now)
    words = f'Deployment "{name}" is progressing.'
    condition = _condition(known, "Progressing", "True", "ReplicaSetUpdated", words, now)
    return {**condition, "lastUpdateTime": render_time(now)} if moved else condition


def _known_condition(known: Object, kind: str) -> Object | None:
    for condition in known.get("conditions") or []:
        if condition.get("type") == kind:
            return dict(condition)
    return None


def _condition(
    known: Object, kind: str, status: str, reason: str, message: str, now: datetime
) -> Object:
    """A condition whose times move only when it changes."""
    before = _known_condition(known, kind)
    moment = render_time(now)
    wanted = {"type": kind, "status": status, "reason": reason, "message": message}
    if before and all(before.get(field) == value for field, value in wanted.items()):
        return before
    same = before is not None and before.get("status") == status
    transition = before["lastTransitionTime"] if same and before else moment
    return {**wanted, "lastUpdateTime": moment, "lastTransitionTime": transition}
