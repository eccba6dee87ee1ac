"""Running totals against plain dictionaries."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.hubble.totals import PairTotals, Totals

NUMBER = st.integers(0, 3) | st.just(2**32 - 1)
MOVED = st.tuples(*[st.integers(0, 2**40)] * 4)
BATCHES = st.lists(
    st.lists(st.tuples(NUMBER, NUMBER, MOVED, st.booleans()), max_size=8), max_size=6
)


def columns(batch):  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    return (
        np.array([row[0] for row in batch], np.uint32),
        np.array([row[1] for row in batch], np.uint32),
        np.array([row[2] for row in batch], np.uint64).reshape(len(batch), 4),
        np.array([row[3] for row in batch], bool),
    )


@given(BATCHES, st.integers(0, 12))
def test_pairs_and_the_rest_are_what_was_added(batches, limit: int) -> None:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    totals = PairTotals(limit)
    expected: dict[tuple[int, int], Counter[int]] = {}
    for batch in batches:
        totals.add(*columns(batch))
        for first, second, moved, begun in batch:
            sums = expected.setdefault((first, second), Counter())
            sums.update(dict(enumerate((*moved, int(begun)))))
    rows = totals.rows()
    found = {
        (int(rows.first[at]), int(rows.second[at])): [
            *rows.packets[at].tolist(), *rows.bytes[at].tolist(), int(rows.connections[at])
        ]
        for at in range(len(rows.first))
    }  # fmt: skip
    assert len(found) == len(totals) == min(limit, len(expected))
    for pair, sums in found.items():
        assert sums == [expected[pair][at] for at in range(5)]
    for at in range(5):
        everything = sum(sums[at] for sums in expected.values())
        assert int(totals.rest[at]) + sum(sums[at] for sums in found.values()) == everything


def test_rows_grow_to_the_limit_and_not_beyond() -> None:
    totals = PairTotals(5_000)
    numbers = np.arange(6_000, dtype=np.uint32)
    moved = np.ones((6_000, 4), np.uint64)
    totals.add(numbers, numbers, moved, np.ones(6_000, bool))
    assert len(totals) == len(totals._sums) == 5_000
    assert totals.rest.tolist() == [1_000] * 5


def test_what_was_read_stays_as_it_was() -> None:
    totals = Totals()
    one = (np.array([1], np.uint32), np.array([2], np.uint32))
    batch = (one, np.array([[7, 0]], np.uint32), np.array([[1, 2, 3, 4]], np.uint64))
    totals.add(*batch, np.array([True]))
    before = totals.by_party()
    totals.add(*batch, np.array([False]))
    assert before.bytes.tolist() == [[3, 4]]
    assert totals.by_party().bytes.tolist() == [[6, 8]]
    assert totals.by_party().connections.tolist() == [1]
    rules = totals.by_provenance()
    assert (rules.first.tolist(), rules.second.tolist()) == ([7], [0])
    assert rules.packets.tolist() == [[2, 4]]
