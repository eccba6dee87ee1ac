"""namespaces: their labels, which are part of every identity in them.

Key: the name. Written by the agent's Kubernetes source; read by endpoint and policy.
"""

import msgspec

from cilia.runtime.table import Table


class Namespace(msgspec.Struct, frozen=True):
    """One namespace."""

    name: str
    labels: tuple[tuple[str, str], ...]
    """Sorted by key."""


def table() -> Table[Namespace]:
    """Returns an empty table."""
    return Table("namespaces", lambda row: row.name, writer="agent")
