"""Counters that only rise, and what they have moved since they were looked at before."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]

_NO_IDS = np.zeros(0, dtype=np.uint64)
_NO_COUNTERS = np.zeros((0, 2), dtype=np.uint64)


class Baseline:
    """Pairs of counters as they were at the last look, by a 64-bit id.

    Attributes:
        ids: Shape `(n,)`, ascending.
        counters: Shape `(n, 2)`.
    """

    def __init__(self, ids: Rows = _NO_IDS, counters: Rows = _NO_COUNTERS) -> None:
        order = np.argsort(ids)
        self.ids, self.counters = ids[order], counters[order]

    def moved(self, ids: Rows, counters: Rows, *, restarts: bool = False) -> tuple[Rows, Rows]:
        """What each has moved since the last look, and which were not there then.

        Args:
            ids: Shape `(n,)`.
            counters: Shape `(n, 2)`.
            restarts: A counter that has fallen began anew. Else it has not moved: programs
                add while a map is read, so one may be read late and then early.
        """
        before = np.zeros_like(counters)
        known = np.zeros(len(ids), dtype=np.bool_)
        if len(self.ids):
            place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            known = self.ids[place] == ids
            before[known] = self.counters[place[known]]
        fallen = counters if restarts else np.uint64(0)
        return np.where(counters >= before, counters - before, fallen), ~known

    def without(self, ids: Rows) -> "Baseline":
        """The same, some forgotten."""
        kept = ~np.isin(self.ids, ids)
        return Baseline(self.ids[kept], self.counters[kept])
