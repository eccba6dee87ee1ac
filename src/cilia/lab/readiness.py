"""Which of the lab's nodes, deployments and pods are ready; pure bookkeeping."""

from datetime import datetime
from typing import Any

Object = dict[str, Any]
Name = tuple[str, str, str]
"""Kind, namespace and name."""


class Readiness:
    """What is wanted, what there is, and what is still missing.

    Args:
        nodes: Names of the nodes; each is wanted.
        since: When every process of the lab was gone, as after a reboot: what pods said
            of themselves before then is not believed. None: their processes go on.
    """

    def __init__(self, nodes: tuple[str, ...], since: datetime | None = None) -> None:
        self._since = since and since.replace(microsecond=0)
        self._groups: dict[str, list[Name]] = {node: [("Node", "", node)] for node in nodes}
        self._objects: dict[Name, Object] = {}

    def want(self, group: str, objects: list[Object]) -> None:
        """Waits for the objects of a manifest that can be ready, under a name of their own."""
        self._groups[group] = [
            name_of(item["kind"], item) for item in objects if item["kind"] in ("Pod", "Deployment")
        ]

    def knows(self, group: str) -> bool:
        """Whether a manifest's objects are waited for."""
        return group in self._groups

    def reset(self, kind: str, items: list[Object]) -> None:
        """Takes a list as all there is of a kind."""
        self._objects = {name: item for name, item in self._objects.items() if name[0] != kind}
        for item in items:
            self.put(kind, item)

    def put(self, kind: str, item: Object) -> None:
        """Takes an object's present state."""
        self._objects[name_of(kind, item)] = item

    def drop(self, kind: str, item: Object) -> None:
        """Forgets an object that is gone."""
        self._objects.pop(name_of(kind, item), None)

    def complete(self) -> list[str]:
        """Names of the groups that have something in them, and all of it ready."""
        return [
            group
            for group, names in self._groups.items()
            if names and all(self._is_ready(name) for name in names)
        ]

    def missing(self) -> list[str]:
        """Everything that is wanted and not ready, in words."""
        return [
            f"{kind.lower()} {namespace}/{name}" if namespace else f"{kind.lower()} {name}"
            for names in self._groups.values()
            for kind, namespace, name in names
            if not self._is_ready((kind, namespace, name))
        ]

    def _is_ready(self, name: Name) -> bool:
        item = self._objects.get(name)
        if item is None:
            return False
        if name[0] == "Deployment":
            return is_available(item) and self._ready_pods(item) >= item["spec"]["replicas"]
        return is_ready(item) and (name[0] == "Node" or started_since(item, self._since))

    def _ready_pods(self, deployment: Object) -> int:
        namespace = deployment["metadata"].get("namespace", "default")
        wanted = deployment["spec"]["selector"].get("matchLabels") or {}
        return sum(
            wanted.items() <= (item["metadata"].get("labels") or {}).items()
            for name, item in self._objects.items()
            if name[:2] == ("Pod", namespace) and self._is_ready(name)
        )


def name_of(kind: str, item: Object) -> Name:
    """An object's kind, namespace and name."""
    metadata = item["metadata"]
    namespace = "" if kind == "Node" else metadata.get("namespace", "default")
    return kind, namespace, metadata["name"]


def is_ready(item: Object) -> bool:
    """Whether a node or pod says that it is ready."""
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in (item.get("status") or {}).get("conditions") or []
    )


def is_available(deployment: Object) -> bool:
    """Whether a deployment says that all of its replicas are available."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    current = status.get("observedGeneration") == deployment["metadata"].get("generation")
    return bool(current and (status.get("availableReplicas") or 0) >= wanted)


def started_since(pod: Object, since: datetime | None) -> bool:
    """Whether every container of a pod that runs was started at `since` or later."""
    if since is None:
        return True
    states = [one.get("state") or {} for one in pod["status"].get("containerStatuses") or []]
    moments = [state["running"]["startedAt"] for state in states if state.get("running")]
    return all(datetime.fromisoformat(moment) >= since for moment in moments)
