"""Draining several rings in order of time, and counting what was lost."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.observer.reader import Reader

RECORD = np.dtype([("time", "<u8"), ("cpu", "<u4")])


class ListedRing:
    """A ring that gives what it was made with, oldest first."""

    def __init__(self, cpu: int, times: list[int]) -> None:
        self._rows = np.array([(time, cpu) for time in sorted(times)], RECORD)

        self._peeked = 0

    def peek(self, limit: int | None = None) -> np.ndarray:
        taken = self._rows[:limit]
        self._peeked = len(taken)
        return taken

    def release(self) -> None:
        self._rows = self._rows[self._peeked :]

    def __len__(self) -> int:
        return len(self._rows)


class ListedLosses:
    """Losses that come in turns; what was told of them."""

    def __init__(self, *turns: list[tuple[int, int]]) -> None:
        self._turns = list(turns)
        self.told: list[tuple[int, int]] = []

    def fresh(self) -> list[tuple[int, int]]:
        return self._turns.pop(0) if self._turns else []

    def tell(self, losses: Sequence[tuple[int, int]]) -> None:
        self.told += losses


def ignore(records: np.ndarray) -> None:
    """Nobody listens."""


def drained(rings: list[ListedRing]) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []

    def keep(records: np.ndarray) -> None:
        seen.extend((int(r["time"]), int(r["cpu"])) for r in records)

    reader = Reader(rings, ListedLosses(), keep, ignore, lambda cpu, n: None, lambda: 0.0)
    reader.drain()
    return seen


@given(st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=2, max_size=2))
def test_records_of_all_rings_come_in_order_of_time(times: list[list[int]]) -> None:
    rings = [ListedRing(cpu, of_cpu) for cpu, of_cpu in enumerate(times)]
    expected = sorted((t, cpu) for cpu, of_cpu in enumerate(times) for t in of_cpu)
    assert drained(rings) == expected


def test_each_loss_is_reported_and_then_noted_as_told() -> None:
    reported: list[tuple[int, int]] = []
    losses = ListedLosses([(1, 3)], [], [(0, 4)])

    def report(cpu: int, count: int) -> None:
        assert (cpu, count) not in losses.told
        reported.append((cpu, count))

    reader = Reader([], losses, lambda records: None, ignore, report, lambda: 0.0)
    for _ in range(3):
        reader.drain()
    assert reported == losses.told == [(1, 3), (0, 4)]


def test_a_flood_leaves_others_their_turn() -> None:
    class Endless:
        def peek(self, limit: int | None = None) -> np.ndarray:
            return np.zeros(limit or 0, RECORD)

        def release(self) -> None:
            pass

    async def scene() -> None:
        reader = Reader(
            [Endless()], ListedLosses(), ignore, ignore, lambda cpu, n: None, lambda: 0.0
        )
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.run(ready := asyncio.Event()))
            await ready.wait()
            reading.cancel()

    asyncio.run(scene())


def test_records_leave_their_ring_once_they_are_kept_and_before_anybody_listens() -> None:
    ring = ListedRing(0, [1, 2, 3])
    left: list[int] = []

    def listen(records: np.ndarray) -> None:
        left.append(len(ring))

    def keep(records: np.ndarray) -> None:
        left.append(len(ring))

    reader = Reader([ring], ListedLosses(), keep, listen, lambda cpu, n: None, lambda: 0.0)
    reader.drain()
    assert left == [3, 0]


def test_a_reader_that_fails_to_keep_a_batch_leaves_it_to_the_next_one() -> None:
    ring = ListedRing(0, [1, 2, 3])

    def keep(records: np.ndarray) -> None:
        raise MemoryError

    reader = Reader([ring], ListedLosses(), keep, ignore, lambda cpu, n: None, lambda: 0.0)
    with pytest.raises(MemoryError):
        reader.drain()
    assert drained([ring]) == [(1, 0), (2, 0), (3, 0)]
