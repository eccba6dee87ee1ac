"""Brings events to the monitor's subscribers, beside the way on which they come into memory.

To name and to render an event takes longer than to keep a hundred: what subscribers want
waits here, and what finds no room is counted and told. Neither a slow subscriber nor an agent
that does not answer keeps the rings waiting.
"""

import asyncio
import contextlib
from collections import deque

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.events import event_of, wall_clock_offset_ns
from cilia.hubble.monitor import Monitor
from cilia.observer.joiner import LIMIT_S, LearningNames

LIMIT = 16_384
"""Events that wait at most: 2 MiB."""
SLICE = 64
"""Events that are rendered in one go: some milliseconds."""


class MonitorFeed:
    """A Service.

    Args:
        monitor: Where the subscribers are.
        names: For what events say.
        limit: Events that wait at most.
    """

    name = "monitor feed"

    def __init__(self, monitor: Monitor, names: LearningNames, limit: int = LIMIT) -> None:
        self._monitor = monitor
        self._names = names
        self._limit = limit
        self._batches: deque[NDArray[np.void]] = deque()
        self._waiting = 0
        self._wake = asyncio.Event()

    def offer(self, records: NDArray[np.void]) -> None:
        """Takes what subscribers want of these; returns at once."""
        wanted = self._monitor.wanted(records)
        room = self._limit - self._waiting
        if len(wanted) > room:
            self._monitor.miss(len(wanted) - room)
            wanted = wanted[:room]
        if len(wanted):
            self._batches.append(wanted)
            self._waiting += len(wanted)
            self._wake.set()

    async def run(self, ready: asyncio.Event) -> None:
        """Feeds until cancelled."""
        ready.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._batches:
                await self._publish(self._batches.popleft())

    async def _publish(self, records: NDArray[np.void]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                await self._names.learn(records)
        offset = wall_clock_offset_ns()
        for at in range(0, len(records), SLICE):
            part = records[at : at + SLICE]
            self._monitor.publish(part, lambda record: event_of(record, self._names, offset))
            self._waiting -= len(part)
            await asyncio.sleep(0)
