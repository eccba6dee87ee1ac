"""What the compilers of all fields share."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.parties import Party
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import FlowStore, Rows

Mask = NDArray[np.bool_]
Test = Callable[[Rows], Mask]
Match = Callable[[flow_pb2.Flow], bool]
"""The same for one message."""
MatchMaker = Callable[[Sequence[Any]], Match]

FEW = 4
"""So many values are compared one by one faster than looked up."""


class InvalidFilterError(ValueError):
    """A filter that cannot be understood; says the field, the value and what is wrong."""


class Scene:
    """What filters are compiled for: the flows of one node.

    Args:
        store: Where they are.
        node: `<cluster>/<node>`.
        node_labels: `key=value` each.
        flow: Makes the flow with a sequence number: for filters on whole flows.
    """

    def __init__(
        self,
        store: FlowStore,
        node: str,
        node_labels: tuple[str, ...] = (),
        flow: Callable[[int], flow_pb2.Flow] | None = None,
    ) -> None:
        self.store = store
        self.node = node
        self.node_labels = node_labels
        self.flow = flow


class FlowTest:
    """A compiled request: which rows are wanted.

    Args:
        test: Says so.
        stride: How many rows it should be asked about in one go, at most.
    """

    def __init__(self, test: Test, stride: int) -> None:
        self._test = test
        self.stride = stride

    def __call__(self, rows: Rows) -> Mask:
        """Which rows pass."""
        return self._test(rows)


class PartyTest:
    """Tests one side: a predicate on parties, looked up by their numbers."""

    def __init__(self, scene: Scene, column: str, predicate: Callable[[Party], bool]) -> None:
        self._parties = scene.store.parties
        self._column = column
        self._predicate = predicate
        self._version = -1
        self._passes: Mask = np.zeros(0, bool)

    def __call__(self, rows: Rows) -> Mask:
        """Which rows pass."""
        if self._version != self._parties.version:
            passes = (self._predicate(party) for party in self._parties.rows)
            self._passes = np.fromiter(passes, bool, len(self._parties.rows))
            self._version = self._parties.version
        found: Mask = self._passes[rows[self._column]]
        return found


def constant(passes: bool) -> Test:
    """A test that every flow passes, or none."""
    return lambda rows: np.full(len(rows), passes)


def among(column: str, values: Iterable[Any]) -> Test:
    """Whether a column has one of some numbers."""
    numbers = sorted({int(value) for value in values})
    if len(numbers) <= FEW:
        return any_of([_equal(column, number) for number in numbers])
    wanted = np.array(numbers)
    return lambda rows: np.isin(rows[column], wanted)


def _equal(column: str, number: int) -> Test:
    return lambda rows: np.equal(rows[column], number)


def any_of(tests: Iterable[Test]) -> Test:
    """Whether one of the tests is passed."""
    every = tuple(tests)

    def test(rows: Rows) -> Mask:
        passed = np.zeros(len(rows), bool)
        for one in every:
            passed |= one(rows)
        return passed

    return test


def all_of(tests: Iterable[Test]) -> Test:
    """Whether all of the tests are passed."""
    every = tuple(tests)

    def test(rows: Rows) -> Mask:
        passed = np.ones(len(rows), bool)
        for one in every:
            passed &= one(rows)
        return passed

    return test


def any_match(matches: Iterable[Match]) -> Match:
    """Whether one of some matches is true of a message."""
    every = tuple(matches)
    return lambda flow: any(one(flow) for one in every)
