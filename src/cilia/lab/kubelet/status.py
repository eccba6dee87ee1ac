"""A pod's status, from what its worker knows: pure.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodStatus
"""

import time
from collections.abc import Sequence
from typing import Any

from cilia.lab.kubelet.pod import Pod
from cilia.lab.kubelet.shim.container import ContainerState
from cilia.lab.kubelet.tracked import Tracked, init_done, phase

Object = dict[str, Any]


def rfc3339(seconds: float) -> str:
    """A time as Kubernetes writes it.

    >>> rfc3339(0.9)
    '1970-01-01T00:00:00Z'
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))


def pod_reference(pod: Pod, tracked: Tracked | None) -> Object:
    """What an event about a pod, or about one of its containers, is about."""
    meta = pod.metadata
    out = {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
    }
    if tracked is not None:
        field = "initContainers" if tracked.is_init else "containers"
        out["fieldPath"] = f"spec.{field}{{{tracked.name}}}"
    return out


def container_status(tracked: Tracked) -> Object:
    """One entry of containerStatuses."""
    out: Object = {
        "name": tracked.name,
        "image": tracked.container.image,
        "imageID": tracked.image_id,
        "ready": tracked.ready or (tracked.is_init and tracked.has_completed),
        "started": tracked.started,
        "restartCount": tracked.restarts,
        "state": {},
        "lastState": {},
    }
    last = tracked.last
    if last is not None:
        out["containerID"] = f"cilia://{last['id']}"
    if last is None:
        out["state"] = {"waiting": _waiting(tracked)}
    elif not last["finished"]:
        out["state"] = {"running": {"startedAt": rfc3339(last["started"])}}
        if len(tracked.runs) > 1:
            out["lastState"] = {"terminated": _terminated(tracked.runs[0])}
    elif tracked.waiting[0]:
        out["state"] = {"waiting": _waiting(tracked)}
        out["lastState"] = {"terminated": _terminated(last)}
    else:
        out["state"] = {"terminated": _terminated(last)}
        if len(tracked.runs) > 1:
            out["lastState"] = {"terminated": _terminated(tracked.runs[0])}
    return out


def _waiting(tracked: Tracked) -> Object:
    reason, message = tracked.waiting
    return {"reason": reason, "message": message} if message else {"reason": reason}


def _terminated(run: ContainerState) -> Object:
    out: Object = {
        "exitCode": run["exit_code"],
        "reason": "Completed" if run["exit_code"] == 0 else "Error",
        "startedAt": rfc3339(run["started"]),
        "finishedAt": rfc3339(run["finished"]),
        "containerID": f"cilia://{run['id']}",
    }
    if run["signal"]:
        out["signal"] = run["signal"]
    return out


def pod_status(
    pod: Pod, tracked: list[Tracked], ips: Sequence[str], host_ips: Sequence[str], now: float
) -> Object:
    """The whole status; what the API server has is the base for times.

    Args:
        pod: The pod with its present status.
        tracked: Its containers.
        ips: Its addresses; empty while it has no sandbox.
        host_ips: The node's addresses.
        now: Seconds since the epoch.
    """
    policy = pod.spec.restart_policy
    what = phase(tracked, policy)
    ended = what in ("Succeeded", "Failed")
    apps = [one for one in tracked if not one.is_init]
    initialized = init_done(tracked) or any(one.last for one in apps)
    unready = [one.name for one in apps if not one.ready]
    why_not = "PodCompleted" if ended else "ContainersNotReady"
    message = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    waiting = [one.name for one in tracked if one.is_init and not one.has_completed]
    conditions = [
        _condition("PodReadyToStartContainers", bool(ips)),
        _condition("Initialized", initialized, "ContainersNotInitialized",
                   f"containers with incomplete status: [{' '.join(waiting)}]"),
        _condition("Ready", not unready, why_not, message),
        _condition("ContainersReady", not unready, why_not, message),
        _condition("PodScheduled", True),
    ]  # fmt: skip
    out: Object = {
        "phase": what,
        "conditions": _with_times(conditions, pod.status.get("conditions") or [], now),
        "hostIP": host_ips[0] if host_ips else "",
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "podIP": ips[0] if ips else None,
        "podIPs": [{"ip": ip} for ip in ips] or None,
        "startTime": pod.status.get("startTime") or rfc3339(now),
        "qosClass": pod.status.get("qosClass") or "BestEffort",
        "containerStatuses": [container_status(one) for one in apps],
    }
    inits = [container_status(one) for one in tracked if one.is_init]
    if inits:
        out["initContainerStatuses"] = inits
    return out


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Object:
    out: Object = {"type": kind, "status": "True" if holds else "False"}
    if not holds and reason:
        out["reason"] = reason
        out["message"] = message
    return out


def _with_times(conditions: list[Object], before: list[Object], now: float) -> list[Object]:
    """Conditions that did not change keep the time since which they hold; others' stay."""
    known = {item.get("type"): item for item in before}
    out = []
    for item in conditions:
        old = known.pop(item["type"], None)
        same = old is not None and old.get("status") == item["status"]
        since = old.get("lastTransitionTime") if same and old is not None else None
        out.append({"lastProbeTime": None, "lastTransitionTime": since or rfc3339(now), **item})
    return out + list(known.values())
