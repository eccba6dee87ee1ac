"""services: Kubernetes services, as far as load balancing and policy need them.

Key: (namespace, name). Written by the agent's Kubernetes source; read by service and policy.
"""

import msgspec

from cilia.runtime.table import Table


class ServicePort(msgspec.Struct, frozen=True, gc=False):
    """One port of a service; its name ties it to the ports of the slices."""

    name: str
    protocol: str
    port: int


class Service(msgspec.Struct, frozen=True):
    """One service."""

    namespace: str
    name: str
    type: str
    cluster_ips: tuple[str, ...]
    """Empty for a headless one."""
    ports: tuple[ServicePort, ...]
    affinity_s: int = 0
    """How long a client stays with its backend; 0: no affinity."""
    selector: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def table() -> Table[Service]:
    """Returns an empty table."""
    return Table("services", lambda row: (row.namespace, row.name), writer="agent")
