"""prefixes: the prefixes that CIDR rules name, with their identity and class.

Key: the prefix. Written by policy; read by ipcache, which reports a revision as
reconciled (`by="ipcache"`) when the kernel has it.
"""

import msgspec

from cilia.model.labels import Network
from cilia.runtime.table import Table


class PolicyPrefix(msgspec.Struct, frozen=True):
    """One prefix of the policies in force."""

    prefix: Network
    identity: int
    """Node-local number."""
    policy_class: int
    """What the kernel looks policy rows up with."""


def table() -> Table[PolicyPrefix]:
    """Returns an empty table."""
    return Table("prefixes", lambda row: row.prefix, writer="policy")
