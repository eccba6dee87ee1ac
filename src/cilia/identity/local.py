"""Numbers that only this node knows: for places outside the cluster that have labels."""

from cilia.model.errors import CiliaError
from cilia.model.identities import (
    LOCAL_LAST,
    OTHER_LOCAL_FIRST,
    REMOTE_NODE_FIRST,
    REMOTE_NODE_LAST,
)
from cilia.model.labels import LabelSet
from cilia.runtime.table import Table
from cilia.state.identities import IdentityRow


class LocalIdentities:
    """Counts holds on label sets of places that only this node numbers, one number a set.

    Args:
        table: The identities table, which it writes for ClusterIdentities' room.
        first: The first number to give.
        last: The last one.
    """

    def __init__(
        self, table: Table[IdentityRow], first: int = OTHER_LOCAL_FIRST, last: int = LOCAL_LAST
    ) -> None:
        self._table = table
        self._first = first
        self._last = last
        self._used: dict[LabelSet, tuple[int, int]] = {}
        self._next = first

    def hold(self, labels: LabelSet) -> int:
        """Returns the label set's number, and holds it until `release`."""
        number, holds = self._used.get(labels, (0, 0))
        number = number or self._free_number()
        self._used[labels] = (number, holds + 1)
        self._table.upsert(IdentityRow(number, labels))
        return number

    def release(self, labels: LabelSet) -> None:
        """Lets go of one hold; with the last one the number is free again."""
        number, holds = self._used[labels]
        if holds > 1:
            self._used[labels] = (number, holds - 1)
            return
        del self._used[labels]
        self._table.delete(number)

    def _free_number(self) -> int:
        for _ in range(self._first, self._last + 1):
            number, self._next = self._next, self._next + 1
            if self._next > self._last:
                self._next = self._first
            if number not in self._table:
                return number
        raise CiliaError("allocate a local identity: every number is taken")


def node_identities(table: Table[IdentityRow]) -> LocalIdentities:
    """Returns the numbers of label sets of nodes, from the range that nodes have."""
    return LocalIdentities(table, REMOTE_NODE_FIRST, REMOTE_NODE_LAST)
