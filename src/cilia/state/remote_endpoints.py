"""remote_endpoints: the pods of other nodes, from their CiliumEndpoint objects.

Key: (namespace, name). Written by the agent's Kubernetes source; read by
ipcache (addresses) and policy (named ports).
"""

import msgspec

from cilia.model.workloads import Workload
from cilia.runtime.table import Table
from cilia.state.ports import NamedPort


class RemoteEndpoint(msgspec.Struct, frozen=True):
    """One pod of another node."""

    namespace: str
    name: str
    identity: int
    node: str
    """Address of the node that hosts it."""
    addresses: tuple[str, ...]
    named_ports: tuple[NamedPort, ...] = ()
    workload: Workload | None = None
    """What it belongs to; None: its node did not say."""


def table() -> Table[RemoteEndpoint]:
    """Returns an empty table."""
    return Table(
        "remote endpoints",
        lambda row: (row.namespace, row.name),
        indexes={"identity": lambda row: (row.identity,)},
        writer="agent",
    )
