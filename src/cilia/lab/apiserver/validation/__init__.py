"""Rules that an object must keep, per kind.

Source:
    https://kubernetes.io/docs/reference/kubernetes-api/
"""

from collections.abc import Callable

from cilia.lab.apiserver.crd import KEY as DEFINITIONS
from cilia.lab.apiserver.crd import definition_causes
from cilia.lab.apiserver.errors import Cause, Json, invalid
from cilia.lab.apiserver.openapi_rules import schema_causes
from cilia.lab.apiserver.resources import Resource

from .causes import Causes
from .configuration import check_config_map, check_secret
from .metadata import check_metadata
from .pod import check_pod
from .policy import policy_mistakes
from .service import check_policy, check_service, check_slice
from .workload import check_deployment, check_job, check_workload

_CHECKS: dict[str, Callable[[Causes, Json, Json | None], None]] = {
    "pods": check_pod,
    "services": check_service,
    "configmaps": check_config_map,
    "secrets": check_secret,
    "deployments.apps": check_deployment,
    "replicasets.apps": check_workload,
    "statefulsets.apps": check_workload,
    "daemonsets.apps": check_workload,
    "jobs.batch": check_job,
    "endpointslices.discovery.k8s.io": check_slice,
    "networkpolicies.networking.k8s.io": check_policy,
}


def validate(resource: Resource, item: Json, old: Json | None) -> None:
    """Refuses an object that breaks its kind's rules.

    Args:
        resource: What it is.
        item: The object, with defaults.
        old: The object that it replaces; None for a new one.

    Raises:
        StatusError: Every broken rule is a cause in it (422).
    """
    causes = Causes()
    check_metadata(causes, resource, item)
    if resource.key == DEFINITIONS:
        causes.found += definition_causes(item)
    elif resource.open_schema is not None:
        causes.found += schema_causes(item, resource.open_schema)
    elif check := _CHECKS.get(resource.key):
        check(causes, item, old)
    if causes.found and (told := policy_mistakes(item)):
        # A schema knows that something is wrong, and seldom what was meant.
        causes.found.append(Cause("FieldValueInvalid", f"Invalid value: {told[0]}", "spec"))
    if causes.found:
        name = str(item["metadata"].get("name", ""))
        raise invalid(resource.group, resource.kind, name, causes.found)
