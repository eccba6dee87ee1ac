"""A cluster in memory: carries the controllers' changes out, and plays the kubelet."""

import copy
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cilia.lab.controllers.cluster import (
    PODS,
    WATCHED,
    Bind,
    Change,
    Cluster,
    Create,
    Delete,
    Object,
    Patch,
    Resource,
    key_of,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
Decision = Callable[[Cluster], list[Change]]


class Simulation:
    """The API server's part, as far as controllers see it."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self._numbers = itertools.count(1)

    def add(self, resource: Resource, item: Object) -> Object:
        """Stores a new object as the API server would."""
        number = next(self._numbers)
        made = copy.deepcopy(item)
        metadata = made["metadata"]
        if "name" not in metadata:
            metadata["name"] = f"{metadata['generateName']}{number:05d}"
        metadata |= {"uid": f"uid-{number}", "resourceVersion": str(number), "generation": 1}
        metadata["creationTimestamp"] = "2030-01-01T00:00:00Z"
        assert self.cluster.get(resource, *key_of(made)) is None, "it exists"
        self.cluster.put(resource, made)
        return made

    def change(self, resource: Resource, item: Object, patch: Object) -> Object:
        """Stores a merge patch."""
        made = merged(item, patch)
        made["metadata"]["resourceVersion"] = str(next(self._numbers))
        if "spec" in patch:
            made["metadata"]["generation"] = item["metadata"].get("generation", 0) + 1
        self.cluster.put(resource, made)
        return made

    def remove(self, resource: Resource, item: Object) -> None:
        """Deletes at once, as if the kubelet had ended the pod already."""
        self.cluster.drop(resource, item)

    def carry_out(self, change: Change) -> None:
        """Does what a controller asks for."""
        match change:
            case Create(resource, item):
                self.add(resource, item)
            case Patch(resource, namespace, name, body, _):
                known = self.cluster.get(resource, namespace, name)
                assert known is not None
                assert body["metadata"]["resourceVersion"] == known["metadata"]["resourceVersion"]
                self.change(resource, known, body)
            case Delete(resource, namespace, name, uid):
                known = self.cluster.get(resource, namespace, name)
                assert known is not None
                assert known["metadata"]["uid"] == uid
                self.remove(resource, known)
            case Bind(namespace, name, node):
                known = self.cluster.get(PODS, namespace, name)
                assert known is not None
                self.change(PODS, known, {"spec": {"nodeName": node}})
            case _:
                raise AssertionError(change)

    def step(self, decision: Decision) -> int:
        """Asks one decision and carries it out; how many changes it made."""
        changes = decision(self.cluster)
        for change in changes:
            self.carry_out(change)
        return len(changes)

    def settle(self, *decisions: Decision, rounds: int = 100) -> None:
        """Asks decisions until none has anything left to say."""
        for _ in range(rounds):
            if not sum(self.step(decision) for decision in decisions):
                return
        raise AssertionError("the controllers do not come to rest")

    def make_ready(self, pod: Object, ready: bool = True) -> Object:
        """Plays the kubelet: the pod runs and says whether it is ready."""
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "lastTransitionTime": "2029-12-31T00:00:00Z",
        }
        number = int(pod["metadata"]["resourceVersion"]) % 250
        addresses = [{"ip": f"10.0.1.{number}"}, {"ip": f"fd00:10:0:1::{number:x}"}]
        status = {"phase": "Running", "conditions": [condition], "podIPs": addresses}
        return self.change(PODS, pod, {"status": status})

    def counts(self) -> dict[str, int]:
        """How many objects of each kind there are."""
        return {one.kind: len(self.cluster.all(one)) for one in WATCHED}


def merged(item: Any, patch: Any) -> Any:
    """A JSON merge patch, by RFC 7396's own words."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = dict(copy.deepcopy(item)) if isinstance(item, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made


def pod(name: str, labels: dict[str, str], namespace: str = "default", **spec: Any) -> Object:
    """A pod as a user writes it."""
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"metadata": metadata, "spec": {"containers": [], **spec}}


def deployment(replicas: int, image: str = "one", **spec: Any) -> Object:
    """A deployment as a user writes it."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"image": image}]}}
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template,
            **spec,
        },
    }


def service(name: str, selector: dict[str, str], **spec: Any) -> Object:
    """A service as a user writes it."""
    metadata = {"name": name, "namespace": "default"}
    return {"metadata": metadata, "spec": {"selector": selector, **spec}}
