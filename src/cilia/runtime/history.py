"""The newest of something that happens, in memory, for readers that follow at their own pace."""

import asyncio
from collections import deque
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

CAPACITY = 4096


class Kept(NamedTuple, Generic[Item]):
    """One thing that happened."""

    number: int
    """Counts up from 0 by one."""
    time_ns: int
    item: Item


class History(Generic[Item]):
    """A ring: the oldest goes when there are too many.

    Args:
        capacity: How many are kept.

    Attributes:
        next: The number of what happens next.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._kept: deque[Kept[Item]] = deque(maxlen=capacity)
        self._moved = asyncio.Event()
        self.next = 0

    def add(self, time_ns: int, item: Item) -> None:
        """Keeps one."""
        self._kept.append(Kept(self.next, time_ns, item))
        self.next += 1
        self._moved.set()
        self._moved = asyncio.Event()

    @property
    def oldest(self) -> int:
        """The number of the oldest that is kept; `next` when there is none."""
        return self.next - len(self._kept)

    def since(self, number: int) -> list[Kept[Item]]:
        """Those that are kept from `number` on, oldest first."""
        kept = list(self._kept)
        return kept[max(0, number - self.oldest) :]

    async def wait(self, number: int) -> None:
        """Waits until that number has happened."""
        while self.next <= number:
            await self._moved.wait()
