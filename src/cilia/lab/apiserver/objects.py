"""Metadata that the server owns: names, uids, timestamps, generations."""

import random
import time
import uuid
from copy import deepcopy
from datetime import UTC, datetime

from .errors import Json
from .resources import Resource

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_OWNED = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
    "selfLink",
)  # fmt: skip
_GENERATION = {
    "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps",
    "networkpolicies.networking.k8s.io", "ingresses.networking.k8s.io", "jobs.batch",
    "cronjobs.batch", "poddisruptionbudgets.policy", "pods", "replicationcontrollers",
    "customresourcedefinitions.apiextensions.k8s.io",
}  # fmt: skip


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC to the second, as `metav1.Time`.

    Args:
        seconds: Since the epoch; None means now.
    """
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def name_suffix() -> str:
    """Five characters that `generateName` appends."""
    return "".join(random.choices(SUFFIX_ALPHABET, k=5))


def has_generation(resource: Resource) -> bool:
    """Whether the server counts the changes of the desired state."""
    return resource.is_defined or resource.key in _GENERATION


def stamp_new(item: Json, resource: Resource) -> None:
    """Gives a new object what only the server may give."""
    metadata = item["metadata"]
    for name in _OWNED:
        metadata.pop(name, None)
    metadata.pop("resourceVersion", None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = timestamp()
    if has_generation(resource):
        metadata["generation"] = 1


def keep_owned(item: Json, old: Json) -> None:
    """Carries what only the server may change over to an update."""
    metadata, before = item["metadata"], old["metadata"]
    for name in _OWNED:
        if name in before:
            metadata[name] = before[name]
        else:
            metadata.pop(name, None)
    metadata["resourceVersion"] = before["resourceVersion"]
    if "managedFields" not in metadata and "managedFields" in before:
        metadata["managedFields"] = before["managedFields"]


def desired(item: Json) -> Json:
    """What a generation counts: everything but metadata and status."""
    return {key: value for key, value in item.items() if key not in ("metadata", "status")}


def with_version(item: Json, resource: Resource) -> Json:
    """The object as a version of its resource shows it."""
    if item.get("apiVersion") == resource.api_version:
        return item
    return item | {"apiVersion": resource.api_version}


def copy(item: Json) -> Json:
    """A copy that shares nothing."""
    return deepcopy(item)
