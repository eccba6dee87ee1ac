"""What pods belong to: read from their owners, told to other nodes in CiliumEndpoints."""

from collections.abc import Iterable, Mapping

import msgspec

from cilia.model.errors import InvalidValue
from cilia.model.workloads import Workload, parse_workload, workload_of

ANNOTATION = "cilia.io/workload"
"""Of a CiliumEndpoint: `Kind/name` of what its pod belongs to."""


class Owner(msgspec.Struct):
    """An object that another belongs to."""

    kind: str
    name: str
    controller: bool | None = None


def pod_workload(
    name: str, owners: Iterable[Owner] | None, labels: Mapping[str, str] | None
) -> Workload:
    """Returns what a pod belongs to, by the owner that controls it."""
    controllers = [Workload(one.kind, one.name) for one in owners or () if one.controller]
    return workload_of(name, next(iter(controllers), None), labels or {})


def told_workload(annotations: Mapping[str, str] | None) -> Workload | None:
    """Returns the workload that a pod's node wrote into its CiliumEndpoint."""
    try:
        return parse_workload((annotations or {}).get(ANNOTATION, ""))
    except InvalidValue:
        return None  # anybody may write annotations
