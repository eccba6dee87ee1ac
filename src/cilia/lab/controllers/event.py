"""What the controllers tell people of what they did: Kubernetes events.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from datetime import datetime

import msgspec

from cilia.lab.controllers.cluster import (
    DEPLOYMENTS,
    PODS,
    REPLICASETS,
    Bind,
    Change,
    Cluster,
    Create,
    Delete,
    Object,
    Patch,
    Resource,
    controller_of,
)
from cilia.lab.controllers.pod import render_time
from cilia.lab.controllers.replicaset import wanted_replicas

EVENTS = Resource("v1", "Event", "events")


class Told(msgspec.Struct, frozen=True):
    """One thing that was done, to be told of an object."""

    component: str
    subject: Object
    """Reference to the object it is told of."""
    reason: str
    message: str


def told_of(change: Change, answer: Object, cluster: Cluster) -> Told | None:
    """What is to be told of a change that is about to be forgotten; None: nothing.

    Args:
        change: The change, carried out.
        answer: The object that the API server answered with.
        cluster: The cluster as it was before the change.
    """
    match change:
        case Bind(namespace, name, node) if pod := cluster.get(PODS, namespace, name):
            message = f"Successfully assigned {namespace}/{name} to {node}"
            return Told("default-scheduler", reference(PODS, pod), "Scheduled", message)
        case Create(resource, _) if resource == PODS:
            message = f"Created pod: {answer['metadata']['name']}"
            return _of_owner(answer, "replicaset-controller", "SuccessfulCreate", message)
        case Delete(resource, namespace, name, _) if pod := cluster.get(PODS, namespace, name):
            if resource != PODS:
                return None
            message = f"Deleted pod: {name}"
            return _of_owner(pod, "replicaset-controller", "SuccessfulDelete", message)
        case Create(resource, item) if resource == REPLICASETS:
            return _scaled(answer, 0, wanted_replicas(item))
        case Patch(resource, namespace, name, body, _) if resource == REPLICASETS:
            before = cluster.get(resource, namespace, name)
            if before is None or "replicas" not in body.get("spec", {}):
                return None
            return _scaled(before, wanted_replicas(before), body["spec"]["replicas"])
    return None


def event_of(told: Told, serial: int, now: datetime) -> Object:
    """The Event object that tells it.

    Args:
        told: What was done.
        serial: Makes the event's name its own.
        now: When it was done.
    """
    moment = render_time(now)
    namespace = told.subject["namespace"]
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{told.subject['name']}.{serial:x}", "namespace": namespace},
        "involvedObject": told.subject,
        "reason": told.reason,
        "message": told.message,
        "type": "Normal",
        "source": {"component": told.component},
        "reportingComponent": told.component,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


def reference(resource: Resource, item: Object) -> Object:
    """A reference to an object, as events have it."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "namespace": item["metadata"].get("namespace", "default"),
        "name": item["metadata"]["name"],
        "uid": item["metadata"]["uid"],
    }


def _scaled(item: Object, before: int, after: int) -> Told | None:
    if before == after:
        return None
    way = "up" if after > before else "down"
    name = item["metadata"]["name"]
    message = f"Scaled {way} replica set {name} from {before} to {after}"
    return _of_owner(item, "deployment-controller", "ScalingReplicaSet", message)


def _of_owner(item: Object, component: str, reason: str, message: str) -> Told | None:
    owner = controller_of(item)
    if owner is None:
        return None
    resource = DEPLOYMENTS if owner["kind"] == "Deployment" else REPLICASETS
    namespace = item["metadata"].get("namespace", "default")
    subject = reference(resource, {"metadata": {**owner, "namespace": namespace}})
    return Told(component, subject, reason, message)
