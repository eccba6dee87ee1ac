"""What clients ask first: groups, versions, resources.

Source:
    https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from .errors import Json
from .resources import Registry, Resource

VERSION: Json = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.4+cilia",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2025-04-22T16:03:58Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The answer to `/version`: the API level that the lab serves."""

_EVICTION = {"group": "policy", "version": "v1", "kind": "Eviction"}
_SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_SUBRESOURCES: dict[str, tuple[Json, tuple[str, ...]]] = {
    "attach": ({"kind": "PodAttachOptions"}, ("create", "get")),
    "binding": ({"kind": "Binding"}, ("create",)),
    "eviction": (_EVICTION, ("create",)),
    "exec": ({"kind": "PodExecOptions"}, ("create", "get")),
    "finalize": ({}, ("update",)),
    "log": ({}, ("get",)),
    "portforward": ({"kind": "PodPortForwardOptions"}, ("create", "get")),
    "proxy": ({}, ("create", "delete", "get", "patch", "update")),
    "scale": (_SCALE, ("get", "patch", "update")),
    "token": ({"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"},
              ("create",)),
}  # fmt: skip
_DEFAULT_VERBS = ("get", "patch", "update")


def _subresource(resource: Resource, name: str) -> tuple[Json, tuple[str, ...]]:
    kind, verbs = _SUBRESOURCES.get(name, ({}, _DEFAULT_VERBS))
    own = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return own | kind, verbs


def _group_version(kind: Json) -> Json:
    """The group and version fields that differ from the list's own."""
    return {"group": kind["group"], "version": kind["version"]}


def resource_list(registry: Registry, group: str, version: str) -> Json | None:
    """`APIResourceList` of one group version; None when it is not served."""
    entries: list[Json] = []
    for resource in registry.all():
        if (resource.group, resource.version) != (group, version):
            continue
        entry: Json = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        entries.append(entry)
        for name in resource.subresources:
            kind, verbs = _subresource(resource, name)
            foreign = _group_version(kind) if kind["group"] != group else {}
            entries.append(
                {
                    "name": f"{resource.plural}/{name}",
                    "singularName": "",
                    "namespaced": resource.namespaced,
                    **foreign,
                    "kind": kind["kind"],
                    "verbs": list(verbs),
                }
            )
    if not entries:
        return None
    group_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": entries,
    }


def _group(name: str, versions: list[str]) -> Json:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def group_list(registry: Registry) -> Json:
    """`APIGroupList`: every named group."""
    groups = [_group(name, versions) for name, versions in registry.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Json | None:
    """`APIGroup` of one group; None when it is not served."""
    versions = registry.groups().get(name)
    if not name or not versions:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def core_versions(host: str) -> Json:
    """`APIVersions` of the core group."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def aggregated(registry: Registry, version: str, *, core: bool) -> Json:
    """`APIGroupDiscoveryList`: all resources of all groups in one answer.

    Args:
        registry: What is served.
        version: `v2` or `v2beta1`.
        core: Whether `/api` was asked (the core group), or `/apis` (the others).
    """
    items = []
    for name, versions in registry.groups().items():
        if (name == "") is not core:
            continue
        items.append(
            {
                "metadata": {"name": name, "creationTimestamp": None} if name else {},
                "versions": [
                    {
                        "version": one,
                        "resources": _discovered(registry, name, one),
                        "freshness": "Current",
                    }
                    for one in versions
                ],
            }
        )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _discovered(registry: Registry, group: str, version: str) -> list[Json]:
    entries = []
    for resource in registry.all():
        if (resource.group, resource.version) != (group, version):
            continue
        entry: Json = {
            "resource": resource.plural,
            "responseKind": {
                "group": resource.group, "version": resource.version, "kind": resource.kind,
            },
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "singularResource": resource.singular,
            "verbs": list(resource.verbs),
        }  # fmt: skip
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        subresources = []
        for name in resource.subresources:
            kind, verbs = _subresource(resource, name)
            subresources.append({"subresource": name, "responseKind": kind, "verbs": list(verbs)})
        if subresources:
            entry["subresources"] = subresources
        entries.append(entry)
    return entries
