"""Bytes and packets by who talked to whom, and by the rules that let them: running totals.

They count everything, also what events leave out. From the start of the observer on, they
only rise, so that whoever reads them may take them for counters.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.hubble.connections import BYTES, PACKETS, Counters, Flags

LIMIT = 131_072
"""Pairs that have a row of their own: 56 bytes each, and about 100 in the index."""
_FIRST_ROWS = 1_024

Numbers = NDArray[np.uint32]


class PairRows(msgspec.Struct, frozen=True):
    """Totals of pairs; row `i` of each column belongs to pair `i`. Copies, the caller's own."""

    first: Numbers
    """Shape `(n,)`."""
    second: Numbers
    """Shape `(n,)`."""
    packets: NDArray[np.uint64]
    """Shape `(n, 2)`: from who began the connection, and back."""
    bytes: NDArray[np.uint64]
    """Shape `(n, 2)`, frames with their headers."""
    connections: NDArray[np.uint64]
    """Shape `(n,)`: begun."""


class PairTotals:
    """Totals by pairs of numbers. What finds no row of its own is in `rest`.

    Attributes:
        rest: Shape `(5,)`: packets there and back, bytes there and back, connections.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rows: dict[int, int] = {}
        self._pairs = np.zeros((min(limit, _FIRST_ROWS), 2), np.uint32)
        self._sums = np.zeros((min(limit, _FIRST_ROWS), 5), np.uint64)
        self.rest = np.zeros(5, np.uint64)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, first: Numbers, second: Numbers, moved: Counters, begun: Flags) -> None:
        """Adds what a batch of connections has moved; all of shape `(n,)`, `moved` `(n, 4)`.

        Goes through pairs, not through connections.
        """
        if not len(first):
            return
        keys = first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)
        order = np.argsort(keys)
        keys = keys[order]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        values = np.column_stack([moved, begun.astype(np.uint64)])[order]
        sums = np.add.reduceat(values, starts, axis=0)
        rows = np.array([self._row(key) for key in keys[starts].tolist()])
        own = rows >= 0
        self._sums[rows[own]] += sums[own]
        self.rest += sums[~own].sum(axis=0, dtype=np.uint64)

    def rows(self) -> PairRows:
        """The totals so far."""
        count = len(self._rows)
        pairs, sums = self._pairs[:count].copy(), self._sums[:count].copy()
        return PairRows(pairs[:, 0], pairs[:, 1], sums[:, PACKETS], sums[:, BYTES], sums[:, 4])

    def _row(self, key: int) -> int:
        """The row of a pair, a new one if there is room; -1: none."""
        known = self._rows.get(key)
        if known is not None:
            return known
        row = len(self._rows)
        if row >= self._limit:
            return -1
        if row >= len(self._sums):
            more = min(row, self._limit - row)
            self._pairs = np.concatenate([self._pairs, np.zeros((more, 2), np.uint32)])
            self._sums = np.concatenate([self._sums, np.zeros((more, 5), np.uint64)])
        self._pairs[row] = key >> 32, key & 0xFFFFFFFF
        self._rows[key] = row
        return row


class Totals:
    """What connections of this node have moved since the observer began."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._parties = PairTotals(limit)
        self._provenances = PairTotals(limit)

    def add(
        self, parties: tuple[Numbers, Numbers], provenance: Numbers, moved: Counters, begun: Flags
    ) -> None:
        """Adds a batch of connections.

        Args:
            parties: Who began each and with whom, shape `(n,)`, numbers of `Parties`.
            provenance: Shape `(n, 2)`: of the ingress and of the egress verdict.
            moved: Shape `(n, 4)`.
            begun: Shape `(n,)`: whether it is new.
        """
        self._parties.add(*parties, moved, begun)
        self._provenances.add(provenance[:, 0], provenance[:, 1], moved, begun)

    def by_party(self) -> PairRows:
        """By who began a connection (`first`) and with whom (`second`): `Parties.rows`."""
        return self._parties.rows()

    def by_provenance(self) -> PairRows:
        """By the rules of the ingress (`first`) and the egress verdict (`second`); 0: none."""
        return self._provenances.rows()

    @property
    def rest(self) -> NDArray[np.uint64]:
        """What `by_party` has no row for, shape `(5,)`: packets there and back, bytes there
        and back, connections.
        """
        return self._parties.rest.copy()
