"""Which of the lab's nodes, deployments and pods are ready; pure bookkeeping."""

from typing import Any

Object = dict[str, Any]
Name = tuple[str, str, str]
"""Kind, namespace and name."""


class Readiness:
    """What is wanted, what there is, and what is still missing."""

    def __init__(self, nodes: tuple[str, ...]) -> None:
        self._groups: dict[str, list[Name]] = {node: [("Node", "", node)] for node in nodes}
        self._ready: dict[Name, bool] = {}

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
        self._ready = {name: ready for name, ready in self._ready.items() if name[0] != kind}
        for item in items:
            self.put(kind, item)

    def put(self, kind: str, item: Object) -> None:
        """Takes an object's present state."""
        self._ready[name_of(kind, item)] = is_ready(kind, item)

    def drop(self, kind: str, item: Object) -> None:
        """Forgets an object that is gone."""
        self._ready.pop(name_of(kind, item), None)

    def complete(self) -> list[str]:
        """Names of the groups that have something in them, and all of it ready."""
        return [
            group
            for group, names in self._groups.items()
            if names and all(self._ready.get(name) for name in names)
        ]

    def missing(self) -> list[str]:
        """Everything that is wanted and not ready, in words."""
        return [
            f"{kind.lower()} {namespace}/{name}" if namespace else f"{kind.lower()} {name}"
            for names in self._groups.values()
            for kind, namespace, name in names
            if not self._ready.get((kind, namespace, name))
        ]


def name_of(kind: str, item: Object) -> Name:
    """An object's kind, namespace and name."""
    metadata = item["metadata"]
    namespace = "" if kind == "Node" else metadata.get("namespace", "default")
    return kind, namespace, metadata["name"]


def is_ready(kind: str, item: Object) -> bool:
    """Whether a node or pod says it is ready, or a deployment has all of its replicas."""
    status = item.get("status") or {}
    if kind == "Deployment":
        wanted = item["spec"].get("replicas", 1)
        current = status.get("observedGeneration") == item["metadata"].get("generation")
        return bool(current and (status.get("availableReplicas") or 0) >= wanted)
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in status.get("conditions") or []
    )
