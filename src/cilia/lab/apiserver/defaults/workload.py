"""Defaults of deployments, replica sets and their like."""

from cilia.lab.apiserver.errors import Json

from .pod import default_template


def default_workload(item: Json) -> None:
    """Replicas, revision history and the pod template."""
    spec = item.setdefault("spec", {})
    kind = item.get("kind")
    if kind in ("StatefulSet",):
        spec.setdefault("replicas", 1)
        spec.setdefault("podManagementPolicy", "OrderedReady")
        spec.setdefault("updateStrategy", {"type": "RollingUpdate"})
    if kind == "DaemonSet":
        spec.setdefault("updateStrategy", {"type": "RollingUpdate"})
    if kind in ("StatefulSet", "DaemonSet"):
        spec.setdefault("revisionHistoryLimit", 10)
    if kind == "Job":
        spec.setdefault("completions", 1)
        spec.setdefault("parallelism", 1)
        spec.setdefault("backoffLimit", 6)
    default_template(item)


def default_replicas(item: Json) -> None:
    """One replica, and the pod template."""
    item.setdefault("spec", {}).setdefault("replicas", 1)
    item.setdefault("status", {}).setdefault("replicas", 0)
    default_template(item)


def default_deployment(item: Json) -> None:
    """Replicas, strategy, deadlines and the pod template."""
    spec = item.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    item.setdefault("status", {})
    default_template(item)
