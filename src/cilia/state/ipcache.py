"""ipcache: which identity owns each prefix, after all sources have been merged.

Key: the prefix. Written by ipcache; read by the API.
"""

import msgspec

from cilia.model.labels import Network
from cilia.runtime.table import Table


class IpcacheRow(msgspec.Struct, frozen=True):
    """One prefix and its owner."""

    prefix: Network
    identity: int
    policy_class: int = 0
    """0: it follows from the identity."""
    node: str | None = None
    """Address of the node that hosts it; None: this node, or none."""
    source: str = ""
    """Who says so: local, custom-resource, kube-apiserver, node, generated or world."""
    namespace: str = ""
    name: str = ""


def table() -> Table[IpcacheRow]:
    """Returns an empty table with an index over identities."""
    return Table(
        "ipcache",
        lambda row: row.prefix,
        indexes={"identity": lambda row: (row.identity,)},
        writer="ipcache",
    )
