"""policy statuses: what became of each policy object on this node.

Key: (kind, namespace, name, source). Written by policy; read by the API and by the agent,
which writes the objects' status conditions.
"""

import msgspec

from cilia.runtime.table import Table
from cilia.state.policies import Key


class PolicyStatus(msgspec.Struct, frozen=True):
    """One policy object, judged."""

    key: Key
    generation: int
    """Of the object that this is about."""
    error: str = ""
    """Why it is refused, with field, value and remedy; empty: it is valid."""
    revision: int = 0
    """Policy revision at which it took effect here; an endpoint whose row says this or a
    later one enforces it. 0: refused."""
    endpoints: tuple[int, ...] = ()
    """The endpoints of this node that it selects."""


def table() -> Table[PolicyStatus]:
    """Returns an empty table."""
    return Table("policy statuses", lambda row: row.key, writer="policy")
