"""Defaults that the server fills in, per kind.

Source:
    https://kubernetes.io/docs/reference/kubernetes-api/
"""

from collections.abc import Callable

from cilia.lab.apiserver.errors import Json
from cilia.lab.apiserver.resources import Resource

from .cluster import default_crd, default_namespace, default_policy, default_secret, default_slice
from .pod import default_pod, default_template
from .service import default_service
from .workload import default_deployment, default_replicas, default_workload

_DEFAULTS: dict[str, Callable[[Json], None]] = {
    "pods": default_pod,
    "podtemplates": default_template,
    "services": default_service,
    "namespaces": default_namespace,
    "secrets": default_secret,
    "deployments.apps": default_deployment,
    "replicasets.apps": default_replicas,
    "replicationcontrollers": default_replicas,
    "statefulsets.apps": default_workload,
    "daemonsets.apps": default_workload,
    "jobs.batch": default_workload,
    "networkpolicies.networking.k8s.io": default_policy,
    "endpointslices.discovery.k8s.io": default_slice,
    "customresourcedefinitions.apiextensions.k8s.io": default_crd,
}


def apply_defaults(resource: Resource, item: Json) -> None:
    """Fills in a built-in kind's defaults, in place. What is set is kept."""
    if fill := _DEFAULTS.get(resource.key):
        fill(item)
