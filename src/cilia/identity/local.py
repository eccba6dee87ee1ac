"""Numbers that only this node knows: for places outside the cluster that have labels."""

from cilia.model.errors import CiliaError
from cilia.model.identities import LOCAL_LAST, OTHER_LOCAL_FIRST
from cilia.model.labels import LabelSet
from cilia.runtime.table import Table
from cilia.state.identities import IdentityRow


class LocalIdentities:
    """Counts holds on label sets of outside places, and gives each set one number.

    Args:
        table: The identities table, which it writes for ClusterIdentities' room.
    """

    def __init__(self, table: Table[IdentityRow]) -> None:
        self._table = table
        self._used: dict[LabelSet, tuple[int, int]] = {}
        self._next = OTHER_LOCAL_FIRST

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
        for _ in range(OTHER_LOCAL_FIRST, LOCAL_LAST + 1):
            number, self._next = self._next, self._next + 1
            if self._next > LOCAL_LAST:
                self._next = OTHER_LOCAL_FIRST
            if number not in self._table:
                return number
        raise CiliaError("allocate a local identity: every number is taken")
