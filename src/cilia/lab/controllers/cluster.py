"""The cluster as the controllers see it: resources, objects, and changes to them.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from collections.abc import Iterator
from typing import Any

import msgspec

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace ("" for objects of the cluster) and name."""


class Resource(msgspec.Struct, frozen=True):
    """One kind of object and where the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def root(self) -> str:
        """Path of the resource's API group and version."""
        return (
            f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        )

    def collection(self, namespace: str = "") -> str:
        """Path of all objects, or of those in one namespace."""
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.root}{inside}/{self.plural}"

    def path(self, namespace: str, name: str) -> str:
        """Path of one object."""
        return f"{self.collection(namespace)}/{name}"


NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)
NODES = Resource("v1", "Node", "nodes", namespaced=False)
PODS = Resource("v1", "Pod", "pods")
SERVICES = Resource("v1", "Service", "services")
ENDPOINTS = Resource("v1", "Endpoints", "endpoints")
REPLICASETS = Resource("apps/v1", "ReplicaSet", "replicasets")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")

WATCHED = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINTS,
    REPLICASETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
)


class Create(msgspec.Struct, frozen=True):
    """Make an object."""

    resource: Resource
    object: Object


class Patch(msgspec.Struct, frozen=True):
    """Change an object by a JSON merge patch; refused when it has changed meanwhile."""

    resource: Resource
    namespace: str
    name: str
    body: Object
    subresource: str = ""


class Delete(msgspec.Struct, frozen=True):
    """Delete an object; refused when its name belongs to another one by now."""

    resource: Resource
    namespace: str
    name: str
    uid: str


class Bind(msgspec.Struct, frozen=True):
    """Give a pod to a node."""

    namespace: str
    name: str
    node: str


class Empty(msgspec.Struct, frozen=True):
    """Delete everything in a namespace that is being deleted, then let it go."""

    namespace: str


Change = Create | Patch | Delete | Bind | Empty


class Cluster:
    """Every watched object, with our own writes in it as soon as they are answered."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[Key, Object]] = {kind: {} for kind in WATCHED}

    def all(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """Objects of a kind (in one namespace), ordered by namespace and name."""
        found = self._objects[resource]
        return [found[key] for key in sorted(found) if namespace is None or key[0] == namespace]

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One object, if it is there."""
        return self._objects[resource].get((namespace, name))

    def owned(self, resource: Resource, owner: Object) -> Iterator[Object]:
        """Objects of a kind whose controller is `owner`, by uid."""
        wanted = owner["metadata"]["uid"]
        for candidate in self.all(resource, owner["metadata"].get("namespace", "")):
            reference = controller_of(candidate)
            if reference and reference["uid"] == wanted:
                yield candidate

    def replace_all(self, resource: Resource, objects: list[Object]) -> None:
        """Takes a whole list as the truth of one kind."""
        self._objects[resource] = {key_of(item): item for item in objects}

    def put(self, resource: Resource, item: Object) -> bool:
        """Takes an object's state unless a later one is known; says whether it did."""
        known = self._objects[resource].get(key_of(item))
        if known is not None and version_of(known) >= version_of(item):
            return False
        self._objects[resource][key_of(item)] = item
        return True

    def replace_one(self, resource: Resource, item: Object) -> None:
        """Takes an object's state, of the version that is known already."""
        self._objects[resource][key_of(item)] = item

    def drop(self, resource: Resource, item: Object) -> None:
        """Forgets a deleted object, but not a later one of the same name."""
        known = self._objects[resource].get(key_of(item))
        if known is not None and version_of(known) <= version_of(item):
            del self._objects[resource][key_of(item)]


def key_of(item: Object) -> Key:
    """Namespace and name of an object."""
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def version_of(item: Object) -> int:
    """An object's resourceVersion; larger is later."""
    return int(item["metadata"].get("resourceVersion") or 0)


def labels_of(item: Object) -> dict[str, str]:
    """An object's labels."""
    return item["metadata"].get("labels") or {}


def annotations_of(item: Object) -> dict[str, str]:
    """An object's annotations."""
    return item["metadata"].get("annotations") or {}


def is_terminating(item: Object) -> bool:
    """Whether an object's deletion has begun."""
    return bool(item["metadata"].get("deletionTimestamp"))


def controller_of(item: Object) -> Object | None:
    """The owner reference of the controller that manages an object."""
    for reference in item["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            return dict(reference)
    return None


def owner_reference(resource: Resource, owner: Object) -> Object:
    """The reference that makes `owner` the controller of another object."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def patch_of(resource: Resource, item: Object, body: Object, subresource: str = "") -> Patch:
    """A patch that holds only for the object as it is known."""
    namespace, name = key_of(item)
    metadata = {**body.get("metadata", {})}
    if version := item["metadata"].get("resourceVersion"):
        metadata["resourceVersion"] = version
    return Patch(resource, namespace, name, {**body, "metadata": metadata}, subresource)


def deletion_of(resource: Resource, item: Object) -> Delete:
    """The deletion of exactly this object."""
    namespace, name = key_of(item)
    return Delete(resource, namespace, name, item["metadata"]["uid"])
