"""ReplicaSets: keep as many pods of a template as are asked for.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from datetime import datetime

from cilia.lab.controllers.cluster import (
    PODS,
    REPLICASETS,
    Change,
    Cluster,
    Create,
    Object,
    controller_of,
    deletion_of,
    is_terminating,
    labels_of,
    owner_reference,
    patch_of,
)
from cilia.lab.controllers.pod import is_active, is_available, is_ready, phase
from cilia.lab.controllers.selector import selects

BURST = 500
"""Pods that one pass creates at most for one ReplicaSet."""


def replicaset_changes(cluster: Cluster, now: datetime) -> list[Change]:
    """Adoptions, creations, deletions and status of every ReplicaSet."""
    changes: list[Change] = []
    for item in cluster.all(REPLICASETS):
        if is_terminating(item):
            continue
        adopted = adoptions(item, cluster)
        if adopted:
            changes += adopted
            continue
        pods = [pod for pod in cluster.owned(PODS, item) if is_active(pod)]
        changes += _scale(item, pods)
        changes += _status(item, pods, now)
    return changes


def adoptions(item: Object, cluster: Cluster) -> list[Change]:
    """Makes a ReplicaSet the controller of matching pods that have none."""
    return [
        patch_of(
            PODS,
            pod,
            {
                "metadata": {
                    "ownerReferences": [
                        *(pod["metadata"].get("ownerReferences") or []),
                        owner_reference(REPLICASETS, item),
                    ]
                }
            },
        )
        for pod in cluster.all(PODS, item["metadata"]["namespace"])
        if is_active(pod)
        and controller_of(pod) is None
        and selects(item["spec"].get("selector"), labels_of(pod))
    ]


def new_pod(item: Object) -> Object:
    """A pod of a ReplicaSet's template; the API server completes its name."""
    template = item["spec"]["template"]
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{item['metadata']['name']}-",
            "namespace": item["metadata"]["namespace"],
            "labels": metadata.get("labels") or {},
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [owner_reference(REPLICASETS, item)],
        },
        "spec": template["spec"],
    }


def dispensable_order(pod: Object) -> tuple[bool, bool, bool, str]:
    """Sort key: the pod that is missed least comes first.

    Unscheduled before scheduled, pending before running, unready before ready;
    then the younger before the older, by a key that falls with the age.
    """
    created = pod["metadata"].get("creationTimestamp") or ""
    inverted = "".join(chr(0x10FFFF - ord(letter)) for letter in created)
    scheduled = bool((pod.get("spec") or {}).get("nodeName"))
    return scheduled, phase(pod) != "Pending", is_ready(pod), inverted


def wanted_replicas(item: Object) -> int:
    """How many replicas a ReplicaSet or Deployment asks for; 1 when it does not say."""
    count = item["spec"].get("replicas")
    return 1 if count is None else int(count)


def _scale(item: Object, pods: list[Object]) -> list[Change]:
    surplus = len(pods) - wanted_replicas(item)
    if surplus <= 0:
        return [Create(PODS, new_pod(item)) for _ in range(min(-surplus, BURST))]
    leaving = sorted(pods, key=dispensable_order)[:surplus]
    return [deletion_of(PODS, pod) for pod in leaving]


def _status(item: Object, pods: list[Object], now: datetime) -> list[Change]:
    template_labels = (item["spec"]["template"].get("metadata") or {}).get("labels") or {}
    min_ready_s = int(item["spec"].get("minReadySeconds") or 0)
    status = {
        "replicas": len(pods),
        "fullyLabeledReplicas": sum(
            template_labels.items() <= labels_of(pod).items() for pod in pods
        ),
        "readyReplicas": sum(is_ready(pod) for pod in pods),
        "availableReplicas": sum(is_available(pod, min_ready_s, now) for pod in pods),
        "observedGeneration": item["metadata"].get("generation", 1),
    }
    known = item.get("status") or {}
    if all(known.get(name) == value for name, value in status.items()):
        return []
    return [patch_of(REPLICASETS, item, {"status": status}, "status")]
