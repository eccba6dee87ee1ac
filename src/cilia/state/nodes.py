"""nodes: this node and the others.

Key: the name. Written by the agent's Kubernetes source; read by ipcache, node and the API.
"""

import msgspec

from cilia.runtime.table import Table


class Node(msgspec.Struct, frozen=True):
    """One node."""

    name: str
    addresses: tuple[str, ...]
    """Of the node itself; the first of each family is the one that peers use."""
    pod_cidrs: tuple[str, ...]
    internal: tuple[str, ...] = ()
    """Router addresses inside its pod networks (`CiliumInternalIP`)."""
    labels: tuple[tuple[str, str], ...] = ()
    source: str = "kubernetes"


def table() -> Table[Node]:
    """Returns an empty table."""
    return Table("nodes", lambda row: row.name, writer="agent")
