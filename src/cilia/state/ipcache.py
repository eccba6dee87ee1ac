"""ipcache: which identity owns each prefix, after all sources have been merged.

Key: the 17-byte prefix key (model.prefixes). Written by ipcache; read by the API.
The prefixes of CIDR rules are not rows here: they are arrays, for a million of
them must not be a million objects.
"""

import msgspec

from cilia.model.labels import Network
from cilia.model.prefixes import prefix_of_key
from cilia.runtime.table import Table


class IpcacheRow(msgspec.Struct, frozen=True, gc=False):
    """One prefix and its owner."""

    key: bytes
    identity: int
    node: str = ""
    """Address of the node that hosts it; empty: this node, or none."""
    source: str = ""
    """Who says so: node, local, kube-apiserver, custom-resource or world."""
    namespace: str = ""
    name: str = ""

    @property
    def prefix(self) -> Network:
        """The prefix that the key stands for."""
        return prefix_of_key(self.key)


def table() -> Table[IpcacheRow]:
    """Returns an empty table."""
    return Table("ipcache", lambda row: row.key, writer="ipcache")
