"""policy enforcements: how far each policy object has got in this node's kernel.

Key: (kind, namespace, name, source). Written by the agent, which compares what policy wants with
the endpoints' rows in the kernel; read by the API and by the agent's status writer.
"""

import msgspec

from cilia.runtime.table import Table
from cilia.state.policies import Key


class PolicyEnforcement(msgspec.Struct, frozen=True):
    """One policy object on this node."""

    key: Key
    generation: int
    """Of the object that this is about."""
    error: str = ""
    """Why it is refused; empty: it is valid."""
    warnings: tuple[str, ...] = ()
    """What is legal and probably not meant: field, problem, remedy."""
    revision: int = 0
    """Policy revision at which it took effect here; 0: it never has."""
    rules: int = 0
    """How many entries it has, deny rules among them."""
    endpoints: tuple[str, ...] = ()
    """The pods of this node that it selects, as namespace/name."""
    missing: tuple[str, ...] = ()
    """Those of them of which the kernel does not enforce it."""
    reason: str = ""
    """Why not; empty when none is missing."""
    is_stuck: bool = False
    """True: the kernel has refused it, and more than patience is needed."""

    @property
    def enforced(self) -> int:
        """How many endpoints enforce it."""
        return len(self.endpoints) - len(self.missing)


def table() -> Table[PolicyEnforcement]:
    """Returns an empty table."""
    return Table("policy enforcements", lambda row: row.key, writer="agent")
