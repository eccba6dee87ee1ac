"""Counters by labels, so many and no more: the busiest are kept, the rest is one `other`.

A label set that was admitted keeps its series, which only grows. Beyond the cap newcomers are
counted in `other`; some of them also on trial, and when one of those was busier for a while
than the quietest series, it takes that one's place and starts at zero, as after a restart.
"""

import heapq
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray
from prometheus_client.metrics_core import Metric

OTHER = "other"
LIMIT = 2_000
"""Series a metric."""
MARGIN = 10
"""So much busier than twice the quietest must a newcomer be."""
SHARE = 10
"""At most one of so many series changes at a time."""

Values = tuple[str, ...]


class Cells:
    """Where all counters of all metrics lie, so that a batch adds to them in one go."""

    def __init__(self) -> None:
        self.values: NDArray[np.int64] = np.zeros(1_024, np.int64)
        self.generation = 0
        """Moves when a cell comes to mean something else: who remembers cells forgets them."""
        self._free = list(range(len(self.values)))[::-1]

    def take(self) -> int:
        """A cell at zero."""
        if not self._free:
            used = len(self.values)
            self.values = np.concatenate((self.values, np.zeros(used, np.int64)))
            self._free = list(range(used, 2 * used))[::-1]
        return self._free.pop()

    def release(self, cell: int) -> None:
        """Takes a cell back."""
        self.values[cell] = 0
        self._free.append(cell)
        self.generation += 1


class Described(msgspec.Struct, frozen=True):
    """What a metric is called and what its labels are."""

    name: str
    text: str
    own: Values
    """Labels that the metric has anyhow."""
    contexts: Values = ()
    """Labels that its options add."""
    wide: Values = ()
    """Those of `own` that take any value."""
    is_context_first: bool = False

    @property
    def labels(self) -> Values:
        """All labels, in order."""
        return self.joined(self.contexts, self.own)

    def joined(self, contexts: Values, own: Values) -> Values:
        """Values of both kinds in the order of `labels`."""
        return (*contexts, *own) if self.is_context_first else (*own, *contexts)

    def other(self, own: Values) -> Values:
        """The labels of the rest; those with few values keep theirs."""
        kept = (
            OTHER if name in self.wide else value for name, value in zip(self.own, own, strict=True)
        )
        return self.joined((OTHER,) * len(self.contexts), tuple(kept))


class Counter:
    """One metric.

    Args:
        described: Its name and labels.
        cells: Where its counts are.
        limit: How many series it may have, besides `other`.
    """

    def __init__(self, described: Described, cells: Cells, limit: int = LIMIT) -> None:
        self.described = described
        self.evicted = 0
        """Series that gave their place to busier ones."""
        self._cells = cells
        self._limit = limit
        self._kept: dict[Values, int] = {}
        self._others: dict[Values, int] = {}
        self._trial: dict[Values, tuple[int, frozenset[str]]] = {}
        self._pods: dict[Values, frozenset[str]] = {}
        self._marks: dict[Values, int] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def cells(self, contexts: Values, own: Values, pods: frozenset[str]) -> tuple[int, ...]:
        """The cells to add to for these labels.

        Args:
            contexts: Values of `described.contexts`.
            own: Values of `described.own`.
            pods: The pods with which the series goes.
        """
        labels = self.described.joined(contexts, own)
        cell = self._kept.get(labels)
        if cell is None and len(self._kept) < self._limit:
            cell = self._admit(labels, self._cells.take(), pods)
        if cell is not None:
            return (cell,)
        return (self._other(own), *self._on_trial(labels, pods))

    def _admit(self, labels: Values, cell: int, pods: frozenset[str]) -> int:
        self._kept[labels] = cell
        if pods:
            self._pods[labels] = pods
        return cell

    def _other(self, own: Values) -> int:
        labels = self.described.other(own)
        if len(self._others) >= self._limit:  # even what should have few values has many
            labels = (OTHER,) * len(labels)
        if labels not in self._others:
            self._others[labels] = self._cells.take()
        return self._others[labels]

    def _on_trial(self, labels: Values, pods: frozenset[str]) -> tuple[int, ...]:
        if labels not in self._trial:
            if len(self._trial) >= self._limit:
                return ()
            self._trial[labels] = (self._cells.take(), pods)
        return (self._trial[labels][0],)

    def tend(self) -> None:
        """Lets the busiest newcomers since the last call take the places of the quietest."""
        values = self._cells.values
        if self._trial:
            grown = {
                labels: int(values[cell]) - self._marks.get(labels, 0)
                for labels, cell in self._kept.items()
            }
            places = max(1, self._limit // SHARE)
            busiest = heapq.nlargest(
                places, self._trial, key=lambda labels: values[self._trial[labels][0]]
            )
            quietest = heapq.nsmallest(places, grown, key=lambda labels: grown[labels])
            counts = [int(values[self._trial[labels][0]]) for labels in busiest]
            pods = {labels: pods for labels, (_, pods) in self._trial.items()}
            for cell, _ in self._trial.values():
                self._cells.release(cell)
            self._trial = {}
            for new, count, old in zip(busiest, counts, quietest, strict=False):
                if count <= 2 * grown[old] + MARGIN:
                    break
                self._drop(old)
                self.evicted += 1
                self._admit(new, self._cells.take(), pods[new])
        self._marks = {labels: int(values[cell]) for labels, cell in self._kept.items()}

    def forget(self, pods: frozenset[str]) -> None:
        """Ends the series of pods that are gone."""
        for labels in [labels for labels, bound in self._pods.items() if bound & pods]:
            self._drop(labels)
        for labels, (cell, bound) in list(self._trial.items()):
            if bound & pods:
                self._cells.release(cell)
                del self._trial[labels]

    def _drop(self, labels: Values) -> None:
        self._cells.release(self._kept.pop(labels))
        self._pods.pop(labels, None)
        self._marks.pop(labels, None)

    def activity(self) -> Mapping[str, int]:
        """For each pod that has series: what they have counted."""
        found: dict[str, int] = {}
        for labels, pods in self._pods.items():
            count = int(self._cells.values[self._kept[labels]])
            for pod in pods:
                found[pod] = found.get(pod, 0) + count
        return found

    @property
    def in_other(self) -> int:
        """What was counted in `other`."""
        return sum(int(self._cells.values[cell]) for cell in self._others.values())

    def close(self) -> None:
        """Gives every cell back."""
        trial = [cell for cell, _ in self._trial.values()]
        for cell in (*self._kept.values(), *self._others.values(), *trial):
            self._cells.release(cell)
        self._kept, self._others, self._trial, self._pods = {}, {}, {}, {}

    def collect(self) -> Metric:
        """The metric as it is now."""
        name = self.described.name
        metric = Metric(name.removesuffix("_total"), self.described.text, "counter")
        for labels, count in self._shown().items():
            named = dict(zip(self.described.labels, labels, strict=True))
            metric.add_sample(name, named, count)
        return metric

    def _shown(self) -> dict[Values, int]:
        """Counts by labels; a series that is itself called other is one with the rest."""
        found: dict[Values, int] = {}
        for labels, cell in (*self._kept.items(), *self._others.items()):
            found[labels] = found.get(labels, 0) + int(self._cells.values[cell])
        return found
