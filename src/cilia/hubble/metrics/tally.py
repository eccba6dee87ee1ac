"""Counts flows for some handlers, a batch at a time.

    rows ──► a key each ──► distinct keys and how often ──► cells += counts
                                      │ new ones only
                                      ▼
                             handlers: facts -> cells

A handler is asked once for each distinct key and the answer remembered, so that what a batch
costs hardly depends on how many metrics there are.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.filters.terms import Test, all_of, among
from cilia.hubble.metrics.batch import ADDRESSES, PORT, PROVENANCE, WIDE, Batch, Keys, Places
from cilia.hubble.metrics.facts import L7, FlowFacts
from cilia.hubble.metrics.handlers import Handler
from cilia.hubble.metrics.series import Cells

REMEMBERED = 1 << 17
"""So many keys are remembered; then all are forgotten."""
STRANGERS = 1_024
"""So many new keys with addresses or ports are looked at a batch; the rest is shown as `other`."""
ALL_COLUMNS = frozenset((ADDRESSES, PORT, PROVENANCE))

CellNumbers = NDArray[np.intp]


class Tally:
    """Handlers that tell the same rows apart.

    Args:
        handlers: What is counted.
        columns: What they look at, together.
        kinds: The event types that count; None: all.
        test: Which rows count; None: all.
        cells: Where the counts are.
    """

    def __init__(
        self,
        handlers: Iterable[Handler],
        columns: frozenset[str],
        kinds: frozenset[int] | None,
        test: Test | None,
        cells: Cells,
    ) -> None:
        self.handlers = tuple(handlers)
        self.columns = columns
        tests = [] if test is None else [test]
        self._tests = tests if kinds is None else [among("type", kinds), *tests]
        self._cells = cells
        self._generation = cells.generation
        self._known: dict[int, CellNumbers] = {}

    def forget(self) -> None:
        """What keys stand for has changed."""
        self._known = {}

    def add(self, batch: Batch) -> None:
        """Counts the rows of a batch."""
        if self._generation != self._cells.generation or len(self._known) > REMEMBERED:
            self._generation = self._cells.generation
            self.forget()
        rows = batch.rows
        is_request = rows["type"] == L7
        has_requests = bool(is_request.any())
        if not self._tests and not has_requests:
            self._add(batch, slice(None), self.columns)
            return
        wanted = all_of(self._tests)(rows)
        places = np.flatnonzero(wanted & ~is_request if has_requests else wanted)
        if len(places):
            self._add(batch, places, self.columns)
        for at in np.flatnonzero(wanted & is_request).tolist() if has_requests else ():
            facts = batch.facts(at, ALL_COLUMNS, hides=False)
            np.add.at(self._cells.values, self._ask(facts), 1)

    def _add(
        self, batch: Batch, places: Places, columns: frozenset[str], *, hides: bool = False
    ) -> None:
        keys = batch.keys(places, columns)
        unique, counts = np.unique(keys, return_counts=True)
        found = [self._known.get(key) for key in unique.tolist()]
        fresh = [at for at, cells in enumerate(found) if cells is None]
        if fresh:
            unique, first = np.unique(keys, return_index=True)
            if len(fresh) > STRANGERS and WIDE & columns:
                rest = _all(places, keys)[np.isin(keys, unique[fresh[STRANGERS:]])]
                self._add(batch, rest, columns - WIDE, hides=True)
                for at in fresh[STRANGERS:]:
                    found[at] = NOWHERE
                fresh = fresh[:STRANGERS]
            numbers = _all(places, keys)
            for at in fresh:
                facts = batch.facts(int(numbers[first[at]]), columns, hides=hides)
                found[at] = cells = self._ask(facts)
                if facts.policies or not facts.is_judged:  # else its policy may be named yet
                    self._known[int(unique[at])] = cells
        hits = [cells for cells in found if cells is not None]
        times = np.repeat(counts, [len(cells) for cells in hits])
        np.add.at(self._cells.values, np.concatenate(hits), times)

    def _ask(self, facts: FlowFacts) -> CellNumbers:
        numbers = [cell for handler in self.handlers for cell in handler.count(facts)]
        return np.array(numbers, np.intp)


def _all(places: Places, keys: Keys) -> NDArray[np.intp]:
    """Places, one by one."""
    return np.arange(len(keys)) if isinstance(places, slice) else places


NOWHERE = np.zeros(0, np.intp)
