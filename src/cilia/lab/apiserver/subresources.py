"""Subresources that are no streams: scale, binding, eviction, finalize, token, reviews."""

import secrets
import time
from collections.abc import Callable
from typing import Any

from .authentication import User
from .deletion import Deleter, delete_options
from .errors import Cause, Json, bad_request, conflict, invalid
from .objects import copy, timestamp
from .options import WriteOptions
from .patch import json_patch, merge_patch
from .resources import Resource
from .rest import JSON_PATCH, Rest
from .storage import Key
from .tables.cells import selector_text

_BUILT_IN_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
}


def _paths(resource: Resource) -> Json:
    return resource.scale or _BUILT_IN_SCALE


def _read(item: Json, path: str) -> Any:
    node: Any = item
    for name in path.strip(".").split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


def scale_of(resource: Resource, item: Json) -> Json:
    """The `autoscaling/v1` Scale of a workload."""
    paths = _paths(resource)
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {name: item["metadata"][name] for name in names if name in item["metadata"]}
    status: Json = {"replicas": _read(item, paths["statusReplicasPath"]) or 0}
    if selector := (item.get("spec") or {}).get("selector"):
        status["selector"] = selector_text(
            selector if "matchLabels" in selector or "matchExpressions" in selector
            else {"matchLabels": selector}
        )  # fmt: skip
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": _read(item, paths["specReplicasPath"]) or 0},
        "status": status,
    }


def write_scale(
    rest: Rest, resource: Resource, key: Key, patch_kind: str, body: Any, options: WriteOptions
) -> Json:
    """Sets the replicas of a workload through its Scale.

    Args:
        rest: The writes.
        resource: The workload's resource.
        key: The workload.
        patch_kind: Media type of a patch; empty when the body is a whole Scale.
        body: The Scale or the patch.
        options: How to write.

    Raises:
        StatusError: The replicas are no number, or negative (422); the workload changed (409).
    """
    item = copy(rest.get(resource, key))
    scale = scale_of(resource, item)
    if patch_kind:
        scale = json_patch(scale, body) if patch_kind == JSON_PATCH else merge_patch(scale, body)
    else:
        scale = body
    spec = scale.get("spec") if isinstance(scale, dict) else None
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        text = f"Invalid value: {replicas!r}: must be greater than or equal to 0"
        raise invalid(
            "autoscaling", "Scale", key[1], [Cause("FieldValueInvalid", text, "spec.replicas")]
        )
    revision = (scale.get("metadata") or {}).get("resourceVersion")
    if revision:
        item["metadata"]["resourceVersion"] = revision
    *parents, last = _paths(resource)["specReplicasPath"].strip(".").split(".")
    node = item
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = replicas
    return scale_of(resource, rest.update(resource, key, item, options))


def bind(rest: Rest, resource: Resource, key: Key, body: Any, options: WriteOptions) -> Json:
    """Puts a pod on a node (`pods/<name>/binding`).

    Raises:
        StatusError: The body names no node (400), or the pod is on one already (409).
    """
    target = body.get("target") if isinstance(body, dict) else None
    node = target.get("name") if isinstance(target, dict) else None
    if not isinstance(node, str) or not node:
        raise bad_request("Binding: target.name is required")
    old = rest.get(resource, key)
    current = old["spec"].get("nodeName")
    if current:
        why = f"pod {key[1]} is already assigned to node {current!r}"
        raise conflict("", "pods", key[1], why)
    item = copy(old)
    item["spec"]["nodeName"] = node
    conditions = item.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [entry for entry in conditions if entry.get("type") != "PodScheduled"]
    conditions.append(
        {"type": "PodScheduled", "status": "True", "lastProbeTime": None,
         "lastTransitionTime": timestamp()}
    )  # fmt: skip
    if not options.dry_run:
        rest.store.put(resource.key, item)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def evict(deleter: Deleter, resource: Resource, key: Key, body: Any, options: WriteOptions) -> Json:
    """Deletes a pod on behalf of a drain (`pods/<name>/eviction`)."""
    wanted = body.get("deleteOptions") if isinstance(body, dict) else None
    deleter.delete(resource, key, delete_options(wanted, {}), options)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def token_request(body: Any) -> Json:
    """A token for a service account. The lab's pods may not use it: nobody accepts it."""
    spec = (body.get("spec") if isinstance(body, dict) else None) or {}
    seconds = spec.get("expirationSeconds", 3600)
    seconds = seconds if isinstance(seconds, int) and 0 < seconds < 2**31 else 3600
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {},
        "spec": {"audiences": spec.get("audiences") or [], "expirationSeconds": seconds},
        "status": {
            "token": secrets.token_urlsafe(32),
            "expirationTimestamp": timestamp(time.time() + seconds),
        },
    }


def review(resource: Resource, body: Any, user: User) -> Json:
    """The answer to an access review: whoever is known may do everything."""
    item = dict(body) if isinstance(body, dict) else {}
    item |= {"kind": resource.kind, "apiVersion": resource.api_version}
    item.setdefault("metadata", {})
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    statuses: dict[str, Callable[[], Json]] = {
        "SelfSubjectRulesReview": lambda: {
            "resourceRules": [everything],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        },
        "SelfSubjectReview": lambda: {
            "userInfo": {"username": user.name, "groups": list(user.groups)}
        },
    }
    allowed = {"allowed": True, "reason": "the lab allows everything to whoever it knows"}
    item["status"] = statuses.get(resource.kind, lambda: allowed)()
    return item
