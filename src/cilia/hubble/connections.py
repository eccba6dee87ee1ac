"""What connections have moved since they were looked at before, for whole batches.

A connection is an id, and counters that only rise: packets there and back, bytes there and
back. A harvest looks at all of them, those that are and those that have ended since, and
finds out for each what is new. Nothing here goes through them one by one.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint64]
Counters = NDArray[np.uint64]
Flags = NDArray[np.bool_]

PACKETS, BYTES = slice(0, 2), slice(2, 4)
"""Columns of counters."""


class Ledger:
    """Counters of connections as they were at one harvest. About 41 bytes a connection.

    Attributes:
        ids: Shape `(n,)`, ascending.
        counters: Shape `(n, 4)`.
        told: Shape `(n,)`: whether the end of it has been told.
    """

    def __init__(
        self,
        ids: Ids | None = None,
        counters: Counters | None = None,
        told: Flags | None = None,
    ) -> None:
        self.ids = np.empty(0, np.uint64) if ids is None else ids
        self.counters = np.empty((0, 4), np.uint64) if counters is None else counters
        self.told = np.empty(0, bool) if told is None else told

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, ids: Ids) -> tuple[NDArray[np.intp], Flags]:
        """The row of each id, and whether it is here at all; both of shape `(n,)`."""
        if not len(self.ids):
            return np.zeros(len(ids), np.intp), np.zeros(len(ids), bool)
        found = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return found, self.ids[found] == ids


class Moves(msgspec.Struct, frozen=True):
    """What is new about a batch of connections; all of shape `(n,)` but for `moved`."""

    moved: Counters
    """Shape `(n, 4)`: since the harvest before."""
    is_new: Flags
    """Begun since then."""
    ends: Flags
    """To be told of as ended: once each."""

    @property
    def news(self) -> Flags:
        """Which of them have anything new about them."""
        return _any(self.moved) | self.is_new | self.ends


class Sums(msgspec.Struct, frozen=True):
    """All that was harvested, from the first harvest on."""

    packets: int = 0
    bytes: int = 0
    begun: int = 0
    """Connections seen."""
    ended: int = 0
    """Of those, how many have been told of as ended."""
    vanished: int = 0
    """Of those, how many went without a trace: their last counters are lost."""


class Harvest:
    """One look at all connections, batch by batch: those that are, then those that ended.

    Args:
        before: The harvest before.
        sums: Up to that.
    """

    def __init__(self, before: Ledger, sums: Sums) -> None:
        self._before = before
        self._sums = sums
        self._live: list[tuple[Ids, Counters, Flags]] = []
        self._now = Ledger()
        self._moved = np.zeros(4, np.uint64)
        self._begun = self._ended = 0

    def live(self, ids: Ids, counters: Counters, closed: Flags, expired: Flags) -> Moves:
        """Takes in connections that are there.

        Args:
            ids: Shape `(n,)`.
            counters: Shape `(n, 4)`.
            closed: Both sides have said that they are done.
            expired: No packet will ever belong to it again.
        """
        counted, known, told = self._known(self._before, ids)
        moved = _risen(counted, counters)
        ends = ~told & (expired | (closed & known & ~_any(moved)))
        self._live.append((ids, counters, told | ends))
        return self._noted(Moves(moved, ~known, ends))

    def gone(self, ids: Ids, counters: Counters) -> Moves:
        """Takes in connections that somebody removed, with their last counters; may be called
        once, after the last `live`.
        """
        self._now = _ledger(self._live)
        if not len(ids):
            nothing = np.zeros(0, bool)
            return Moves(counters, nothing, nothing)
        counted, known, told = self._known(self._before, ids)
        place, is_here = self._now.places(ids)
        counted[is_here] = np.maximum(counted[is_here], self._now.counters[place[is_here]])
        told[is_here] |= self._now.told[place[is_here]]
        moves = Moves(_risen(counted, counters), ~(known | is_here), ~told)
        kept = np.ones(len(self._now), bool)
        kept[place[is_here]] = False
        last = (ids, np.maximum(counters, counted), np.ones(len(ids), bool))
        self._now = _ledger(
            [(self._now.ids[kept], self._now.counters[kept], self._now.told[kept]), last]
        )
        return self._noted(moves)

    def finish(self) -> tuple[Ledger, Sums]:
        """The ledger for the next harvest, and all that was harvested."""
        before, sums = self._before, self._sums
        left = before.ids[~before.told]
        vanished = len(left) - int(self._now.places(left)[1].sum())
        packets, size = (int(self._moved[part].sum()) for part in (PACKETS, BYTES))
        return self._now, Sums(
            sums.packets + packets,
            sums.bytes + size,
            sums.begun + self._begun,
            sums.ended + self._ended,
            sums.vanished + vanished,
        )

    def abandon(self) -> tuple[Ledger, Sums]:
        """The same where a harvest could not be finished: what was looked at is harvested,
        the rest is as it was before.
        """
        self._now = _ledger(self._live)
        kept = ~self._now.places(self._before.ids)[1]
        left = (self._before.ids[kept], self._before.counters[kept], self._before.told[kept])
        self._now = _ledger([(self._now.ids, self._now.counters, self._now.told), left])
        return self.finish()

    def _noted(self, moves: Moves) -> Moves:
        self._moved += moves.moved[_any(moves.moved)].sum(axis=0, dtype=np.uint64)
        self._begun += int(moves.is_new.sum())
        self._ended += int(moves.ends.sum())
        return moves

    @staticmethod
    def _known(ledger: Ledger, ids: Ids) -> tuple[Counters, Flags, Flags]:
        counted, told = np.zeros((len(ids), 4), np.uint64), np.zeros(len(ids), bool)
        place, known = ledger.places(ids)
        if known.any():
            counted[known] = ledger.counters[place[known]]
            told[known] = ledger.told[place[known]]
        return counted, known, told


def _any(counters: Counters) -> Flags:
    """Which rows are not all zero. Numpy's own `any` goes through them one by one."""
    packets, size = counters[:, 0] | counters[:, 1], counters[:, 2] | counters[:, 3]
    result: Flags = (packets | size) != 0
    return result


def _risen(before: Counters, now: Counters) -> Counters:
    """How much counters have risen. One that seems to have fallen was read while it moved."""
    result: Counters = np.where(now > before, now - before, np.uint64(0))
    return result


def _ledger(parts: list[tuple[Ids, Counters, Flags]]) -> Ledger:
    """Rows of several batches, ordered."""
    if not parts:
        return Ledger()
    ids, counters, told = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(ids)
    return Ledger(ids[order], counters[order], told[order])
