"""Labels to numbers, the same on every node.

    reserved rows ─────────────────────────┐
    CiliumIdentity objects (list+watch) ───┼──► identities table
    allocate(labels) ── create, 409? read ─┘

`allocate` gives the number of a label set: the known one, else a new
CiliumIdentity whose name is the candidate that every node would try first.
Numbers that nobody uses are marked, and deleted when the mark has aged; a node
that holds such a number takes the mark away.
"""

from cilia.identity.allocation import ClusterIdentities
from cilia.identity.local import LocalIdentities
from cilia.identity.ports import IdentityStore, NumberTaken, StoreAway, StoredIdentity

__all__ = [
    "ClusterIdentities",
    "IdentityStore",
    "LocalIdentities",
    "NumberTaken",
    "StoreAway",
    "StoredIdentity",
]
