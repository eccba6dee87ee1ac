"""What the server serves: the registry of resources, built in and defined.

A resource is keyed by `plural.group` (`pods`, `deployments.apps`), under
which its objects are stored whatever the version they are served in.
"""

import msgspec

from .definition_schema import NAME as DEFINITION_NAME
from .errors import Json, qualified

READ_WRITE = (
    "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
)  # fmt: skip
CREATE_ONLY = ("create",)


class Column(msgspec.Struct, frozen=True):
    """An additional printer column of a defined resource."""

    name: str
    type: str
    path: str
    description: str = ""
    priority: int = 0
    format: str = ""


class Resource(msgspec.Struct, frozen=True):
    """One resource in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    """`status`, `scale`, `log` …"""
    fields: frozenset[str] = frozenset()
    """Paths that field selectors support besides name and namespace."""
    verbs: tuple[str, ...] = READ_WRITE
    schema: str = ""
    """Name of a built-in schema; empty for a defined resource."""
    open_schema: Json | None = None
    """OpenAPI schema of a defined resource."""
    columns: tuple[Column, ...] | None = None
    """Printer columns of a defined resource; None for a built-in one."""
    scale: Json | None = None
    """Paths of the scale subresource of a defined resource."""
    selectable: tuple[str, ...] = ()
    storage_version: str = ""
    """The version whose schema objects are stored in; empty: this one."""

    @property
    def key(self) -> str:
        """`plural.group`, the name in the store and in messages."""
        return qualified(self.group, self.plural)

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_defined(self) -> bool:
        """Whether a CustomResourceDefinition made it."""
        return self.columns is not None


def _core(kind: str, plural: str, **more: object) -> Resource:
    fields: dict[str, object] = {"schema": f"io.k8s.api.core.v1.{kind}", **more}
    return _resource("", "v1", kind, plural, fields)


def _resource(
    group: str, version: str, kind: str, plural: str, more: dict[str, object]
) -> Resource:
    base = {"group": group, "version": version, "kind": kind, "plural": plural}
    base["singular"] = kind.lower()
    return msgspec.convert(base | more, Resource)


def _grouped(group: str, kind: str, plural: str, **more: object) -> Resource:
    package = {
        "rbac.authorization.k8s.io": "rbac",
        "events.k8s.io": "events",
    }.get(group, group.split(".")[0])
    schema = f"io.k8s.api.{package}.v1.{kind}"
    return _resource(group, "v1", kind, plural, {"schema": schema, **more})


_POD_FIELDS = {
    "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
    "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName",
}  # fmt: skip
_EVENT_FIELDS = {
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
    "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
    "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type",
}  # fmt: skip
_POD_SUBRESOURCES = (
    "attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward",
    "proxy", "resize", "status",
)  # fmt: skip
_RBAC = "rbac.authorization.k8s.io"
_REVIEWS = (
    "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview",
)  # fmt: skip

BUILT_IN: tuple[Resource, ...] = (
    _core("Binding", "bindings", verbs=CREATE_ONLY),
    _core("ConfigMap", "configmaps", short_names=["cm"]),
    _core("Endpoints", "endpoints", short_names=["ep"]),
    _core("Event", "events", short_names=["ev"], fields=_EVENT_FIELDS),
    _core(
        "Namespace", "namespaces", namespaced=False, short_names=["ns"],
        subresources=["finalize", "status"], fields={"status.phase"},
    ),
    _core(
        "Node", "nodes", namespaced=False, short_names=["no"],
        subresources=["proxy", "status"], fields={"spec.unschedulable"},
    ),
    _core(
        "PersistentVolumeClaim", "persistentvolumeclaims", short_names=["pvc"],
        subresources=["status"],
    ),
    _core(
        "PersistentVolume", "persistentvolumes", namespaced=False, short_names=["pv"],
        subresources=["status"],
    ),
    _core(
        "Pod", "pods", short_names=["po"], categories=["all"],
        subresources=_POD_SUBRESOURCES, fields=_POD_FIELDS,
    ),
    _core("LimitRange", "limitranges", short_names=["limits"]),
    _core("PodTemplate", "podtemplates"),
    _core(
        "ReplicationController", "replicationcontrollers", short_names=["rc"],
        categories=["all"], subresources=["scale", "status"], fields={"status.replicas"},
    ),
    _core("ResourceQuota", "resourcequotas", short_names=["quota"], subresources=["status"]),
    _core("Secret", "secrets", fields={"type"}),
    _core("ServiceAccount", "serviceaccounts", short_names=["sa"], subresources=["token"]),
    _core(
        "Service", "services", short_names=["svc"], categories=["all"],
        subresources=["proxy", "status"], fields={"spec.clusterIP", "spec.type"},
    ),
    _grouped("apps", "ControllerRevision", "controllerrevisions"),
    _grouped(
        "apps", "DaemonSet", "daemonsets", short_names=["ds"], categories=["all"],
        subresources=["status"],
    ),
    _grouped(
        "apps", "Deployment", "deployments", short_names=["deploy"], categories=["all"],
        subresources=["scale", "status"],
    ),
    _grouped(
        "apps", "ReplicaSet", "replicasets", short_names=["rs"], categories=["all"],
        subresources=["scale", "status"], fields={"status.replicas"},
    ),
    _grouped(
        "apps", "StatefulSet", "statefulsets", short_names=["sts"], categories=["all"],
        subresources=["scale", "status"],
    ),
    _grouped(
        "batch", "CronJob", "cronjobs", short_names=["cj"], categories=["all"],
        subresources=["status"],
    ),
    _grouped(
        "batch", "Job", "jobs", categories=["all"], subresources=["status"],
        fields={"status.successful"},
    ),
    _grouped("coordination.k8s.io", "Lease", "leases"),
    _grouped("discovery.k8s.io", "EndpointSlice", "endpointslices"),
    _grouped("networking.k8s.io", "IngressClass", "ingressclasses", namespaced=False),
    _grouped(
        "networking.k8s.io", "Ingress", "ingresses", short_names=["ing"],
        subresources=["status"],
    ),
    _grouped("networking.k8s.io", "NetworkPolicy", "networkpolicies", short_names=["netpol"]),
    _grouped(
        "policy", "PodDisruptionBudget", "poddisruptionbudgets", short_names=["pdb"],
        subresources=["status"],
    ),
    _grouped(_RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _grouped(_RBAC, "ClusterRole", "clusterroles", namespaced=False),
    _grouped(_RBAC, "RoleBinding", "rolebindings"),
    _grouped(_RBAC, "Role", "roles"),
    *(
        _resource(
            "authorization.k8s.io", "v1", kind, kind.lower() + "s",
            {"namespaced": False, "verbs": CREATE_ONLY},
        )
        for kind in _REVIEWS
    ),
    _resource(
        "authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews",
        {"namespaced": False, "verbs": CREATE_ONLY},
    ),
    _resource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
        {
            "namespaced": False, "schema": DEFINITION_NAME, "short_names": ["crd", "crds"],
            "categories": ["api-extensions"], "subresources": ["status"],
        },
    ),
)  # fmt: skip

GROUP_ORDER = (
    "", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "batch",
    "networking.k8s.io", "policy", _RBAC, "apiextensions.k8s.io", "coordination.k8s.io",
    "discovery.k8s.io",
)  # fmt: skip


class Registry:
    """All resources that are served now. `revision` grows with each change."""

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self.revision = 0
        for resource in BUILT_IN:
            self._resources[resource.group, resource.version, resource.plural] = resource

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource of a path, if it is served."""
        return self._resources.get((group, version, plural))

    def any_version(self, group: str, plural: str) -> Resource | None:
        """The resource in the first version that it is served in."""
        for resource in self._resources.values():
            if (resource.group, resource.plural) == (group, plural):
                return resource
        return None

    def all(self) -> list[Resource]:
        """Every resource, built-in ones first."""
        return list(self._resources.values())

    def groups(self) -> dict[str, list[str]]:
        """Group -> versions, preferred first, in the order in which discovery lists them."""
        groups: dict[str, list[str]] = {name: [] for name in GROUP_ORDER}
        for resource in self._resources.values():
            versions = groups.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        for versions in groups.values():
            versions.sort(key=version_rank)
        return {name: versions for name, versions in groups.items() if versions}

    def define(self, key: str, resources: list[Resource]) -> None:
        """Replaces what one CustomResourceDefinition (`plural.group`) makes; none removes it."""
        kept = {
            place: resource
            for place, resource in self._resources.items()
            if not (resource.is_defined and resource.key == key)
        }
        for resource in resources:
            kept[resource.group, resource.version, resource.plural] = resource
        self._resources = kept
        self.revision += 1


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as Kubernetes does: v2, v1, v1beta2, v1beta1, v1alpha1, then the rest.

    Source:
        https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority

    >>> sorted(["v1alpha1", "v1", "v2", "foo", "v2beta1"], key=version_rank)
    ['v2', 'v1', 'v2beta1', 'v1alpha1', 'foo']
    """
    for stage, rank in (("alpha", 2), ("beta", 1)):
        major, found, minor = version[1:].partition(stage)
        if found and version[:1] == "v" and major.isdecimal() and minor.isdecimal():
            return (rank, -int(major), -int(minor), version)
    if version[:1] == "v" and version[1:].isdecimal():
        return (0, -int(version[1:]), 0, version)
    return (3, 0, 0, version)
