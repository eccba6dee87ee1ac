"""Bytes by workload: everything that its pods on this node sent and received.

Taken from the counters of connections, so also what no event told of. A workload on several
nodes has a series on each; their sum counts nothing twice.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.metrics.series import LIMIT, Cells, Counter, Described
from cilia.hubble.parties import Party
from cilia.hubble.totals import PairRows

Bytes = NDArray[np.uint64]

NAME = "hubble_workload_bytes_total"
LABELS = ("namespace", "workload", "kind", "direction")
ALONE = "Pod"
"""The kind of a pod that nothing manages: it is its own workload."""


class WorkloadBytes:
    """A metric.

    Args:
        totals: Gives bytes by pairs of parties, so far.
        parties: By number.
        limit: How many series it may have.
    """

    def __init__(
        self, totals: Callable[[], PairRows], parties: list[Party], limit: int = LIMIT
    ) -> None:
        self._totals = totals
        self._parties = parties
        self._cells = Cells()
        described = Described(NAME, "Bytes of pods, with headers.", LABELS, wide=LABELS[:3])
        self.counter = Counter(described, self._cells, limit)
        self._counted = np.zeros((0, 2), np.uint64)

    def count(self) -> None:
        """Adds what was moved since the last call. A pod counts once its name is known."""
        now = _by_party(self._totals(), len(self._parties))
        before = np.zeros_like(now)
        before[: len(self._counted)] = self._counted
        for number in np.flatnonzero((now != before).any(axis=1)).tolist():
            party = self._parties[number]
            if not party.pod or not party.endpoint:
                now[number] = before[number]
                continue
            name, kind = party.workloads[0] if party.workloads else (party.pod, ALONE)
            pods = frozenset({f"{party.namespace}/{name}"} if kind == ALONE else ())
            for direction, moved in zip(
                ("sent", "received"), (now[number] - before[number]).tolist(), strict=True
            ):
                own = (party.namespace, name, kind, direction)
                cells = self.counter.cells((), own, pods)
                self._cells.values[list(cells)] += moved
        self._counted = now


def _by_party(pairs: PairRows, parties: int) -> Bytes:
    """What each party sent and received; shape (parties, 2)."""
    found = np.zeros((parties, 2), np.uint64)
    np.add.at(found, pairs.first, pairs.bytes)
    np.add.at(found, pairs.second, pairs.bytes[:, ::-1])
    return found
