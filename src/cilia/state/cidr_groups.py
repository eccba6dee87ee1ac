"""cidr_groups: named lists of prefixes that policies refer to.

Key: (name, source). Written by the agent's Kubernetes source and by the watched folder, read by
policy; of two of one name, both count.
"""

import msgspec

from cilia.runtime.table import Table


class CidrGroup(msgspec.Struct, frozen=True):
    """One CiliumCIDRGroup."""

    name: str
    labels: tuple[tuple[str, str], ...]
    cidrs: tuple[str, ...]
    source: str = ""
    """`file` for one of the watched folder."""


def table() -> Table[CidrGroup]:
    """Returns an empty table."""
    return Table("CIDR groups", lambda row: (row.name, row.source), writer="agent")
