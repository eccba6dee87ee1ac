"""identities: which label set each number stands for, as far as this node knows.

Key: the number. Written by identity; read by policy, ipcache, the API.
"""

import msgspec

from cilia.model.labels import LabelSet
from cilia.runtime.table import Table


class IdentityRow(msgspec.Struct, frozen=True):
    """One identity."""

    number: int
    labels: LabelSet


def table() -> Table[IdentityRow]:
    """Returns an empty table with an index over label sets."""
    return Table(
        "identities",
        lambda row: row.number,
        indexes={"labels": lambda row: (row.labels,)},
        writer="identity",
    )
