"""cidr_groups: named lists of prefixes that policies refer to.

Key: the name. Written by the agent's Kubernetes source; read by policy.
"""

import msgspec

from cilia.runtime.table import Table


class CidrGroup(msgspec.Struct, frozen=True):
    """One CiliumCIDRGroup."""

    name: str
    labels: tuple[tuple[str, str], ...]
    cidrs: tuple[str, ...]


def table() -> Table[CidrGroup]:
    """Returns an empty table."""
    return Table("CIDR groups", lambda row: row.name, writer="agent")
