"""policies: policy objects as the API server and files hold them, not yet judged.

Key: (kind, namespace, name, source). Written by the agent's Kubernetes source and by the
watched folder, read by policy.
"""

import msgspec

from cilia.runtime.table import Table

Key = tuple[str, str, str, str]


class PolicyObject(msgspec.Struct, frozen=True):
    """One policy object."""

    kind: str
    """CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy or NetworkPolicy."""
    namespace: str
    """Empty for a cluster-wide one."""
    name: str
    uid: str
    generation: int
    """Counts changes of the specification; status writes leave it alone."""
    text: bytes
    """The object as JSON, without its status and managed fields."""
    source: str = ""
    """`file` for one of the watched folder, whose uid is then its `file:line`."""

    @property
    def key(self) -> Key:
        """The primary key."""
        return (self.kind, self.namespace, self.name, self.source)


def table() -> Table[PolicyObject]:
    """Returns an empty table."""
    return Table("policies", lambda row: row.key, writer="agent")
