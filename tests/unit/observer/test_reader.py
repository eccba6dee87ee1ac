"""Draining several rings in order of time, and counting what was lost."""

import asyncio

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.observer.reader import Reader

RECORD = np.dtype([("time", "<u8"), ("cpu", "<u4")])


class ListedRing:
    """A ring that gives what it was made with, oldest first."""

    def __init__(self, cpu: int, times: list[int]) -> None:
        self._rows = np.array([(time, cpu) for time in sorted(times)], RECORD)

    def read(self, limit: int | None = None) -> np.ndarray:
        taken, self._rows = self._rows[:limit], self._rows[limit:]
        return taken


def drained(rings: list[ListedRing]) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []

    async def take(records: np.ndarray) -> None:
        seen.extend((int(r["time"]), int(r["cpu"])) for r in records)

    reader = Reader(rings, lambda: [0, 0], take, lambda cpu, n: None, lambda: 0.0)
    asyncio.run(reader.drain())
    return seen


@given(st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=2, max_size=2))
def test_records_of_all_rings_come_in_order_of_time(times: list[list[int]]) -> None:
    rings = [ListedRing(cpu, of_cpu) for cpu, of_cpu in enumerate(times)]
    expected = sorted((t, cpu) for cpu, of_cpu in enumerate(times) for t in of_cpu)
    assert drained(rings) == expected


def test_each_loss_is_reported_once_with_its_cpu() -> None:
    counts = iter([[5, 0], [5, 0], [5, 3], [9, 3]])
    reported: list[tuple[int, int]] = []

    async def take(records: np.ndarray) -> None:
        raise AssertionError("no records here")

    async def scene() -> None:
        reader = Reader(
            [], lambda: next(counts), take, lambda cpu, n: reported.append((cpu, n)), lambda: 0.0
        )
        for _ in range(3):
            await reader.drain()

    asyncio.run(scene())
    assert reported == [(1, 3), (0, 4)]
