"""policies: policy objects as the API server holds them, not yet judged.

Key: (kind, namespace, name). Written by the agent's Kubernetes source, read by policy.
"""

import msgspec

from cilia.runtime.table import Table

Key = tuple[str, str, str]


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

    @property
    def key(self) -> Key:
        """The primary key."""
        return (self.kind, self.namespace, self.name)


def table() -> Table[PolicyObject]:
    """Returns an empty table."""
    return Table("policies", lambda row: row.key, writer="agent")
