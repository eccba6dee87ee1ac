"""The scheduler: which node each new pod goes to.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from collections import Counter
from datetime import datetime

from cilia.lab.controllers.cluster import (
    NODES,
    PODS,
    Bind,
    Change,
    Cluster,
    Object,
    is_terminating,
    key_of,
    labels_of,
    patch_of,
)
from cilia.lab.controllers.pod import has_ended, render_time
from cilia.lab.controllers.selector import satisfies

SCHEDULER = "default-scheduler"


def scheduling_changes(cluster: Cluster, now: datetime) -> list[Change]:
    """Binds each pod that has no node to the fitting node with the fewest pods."""
    nodes = cluster.all(NODES)
    load = Counter(
        pod["spec"]["nodeName"]
        for pod in cluster.all(PODS)
        if pod["spec"].get("nodeName") and not has_ended(pod)
    )
    changes: list[Change] = []
    for pod in cluster.all(PODS):
        spec = pod["spec"]
        if spec.get("nodeName") or is_terminating(pod) or has_ended(pod):
            continue
        if (spec.get("schedulerName") or SCHEDULER) != SCHEDULER:
            continue
        fitting = [node for node in nodes if misfit(pod, node) is None]
        if not fitting:
            changes += _unschedulable(pod, nodes, now)
            continue
        chosen = min((load[node["metadata"]["name"]], node["metadata"]["name"]) for node in fitting)
        load[chosen[1]] += 1
        changes.append(Bind(*key_of(pod), chosen[1]))
    return changes


def misfit(pod: Object, node: Object) -> str | None:
    """Why a pod cannot go to a node, in words; None: it can."""
    spec, node_spec, labels = pod["spec"], node.get("spec") or {}, labels_of(node)
    if is_terminating(node) or node_spec.get("unschedulable"):
        return "node(s) were unschedulable"
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    if not _affine(spec, labels, node["metadata"]["name"]):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in node_spec.get("taints") or []:
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not _tolerated(spec, taint):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    return None


def _affine(spec: Object, labels: dict[str, str], name: str) -> bool:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    fields = {"metadata.name": name}
    return any(
        all(satisfies(one, labels) for one in term.get("matchExpressions") or [])
        and all(satisfies(one, fields) for one in term.get("matchFields") or [])
        for term in required.get("nodeSelectorTerms") or []
        if term.get("matchExpressions") or term.get("matchFields")
    )


def _tolerated(spec: Object, taint: Object) -> bool:
    return any(_tolerates(one, taint) for one in spec.get("tolerations") or [])


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return (toleration.get("value") or "") == (taint.get("value") or "")


def _unschedulable(pod: Object, nodes: list[Object], now: datetime) -> list[Change]:
    """The condition that tells why a pod has no node, once."""
    reasons = Counter(misfit(pod, node) for node in nodes)
    words = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=str))
    message = f"0/{len(nodes)} nodes are available" + (f": {words}." if words else ".")
    known = (pod.get("status") or {}).get("conditions") or []
    for condition in known:
        if condition.get("type") == "PodScheduled" and condition.get("message") == message:
            return []
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": render_time(now),
    }
    others = [one for one in known if one.get("type") != "PodScheduled"]
    return [patch_of(PODS, pod, {"status": {"conditions": [*others, condition]}}, "status")]
