"""pods: the pods that Kubernetes has placed on this node.

Key: (namespace, name). Written by the agent's Kubernetes source; read by endpoint.
"""

import msgspec

from cilia.model.workloads import Workload
from cilia.runtime.table import Table
from cilia.state.ports import NamedPort


class Pod(msgspec.Struct, frozen=True):
    """What of a pod decides its identity and its policy."""

    namespace: str
    name: str
    uid: str
    labels: tuple[tuple[str, str], ...]
    """Sorted by key."""
    service_account: str = ""
    host_network: bool = False
    named_ports: tuple[NamedPort, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    """Only those that cilia reads."""
    workload: Workload | None = None
    """What it belongs to; None: nobody told."""


def table() -> Table[Pod]:
    """Returns an empty table with an index over namespaces."""
    return Table(
        "pods",
        lambda row: (row.namespace, row.name),
        indexes={"namespace": lambda row: (row.namespace,)},
        writer="agent",
    )
