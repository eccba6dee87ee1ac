"""Counts what happens to services and nodes, and how long a service takes to the kernel."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from cilia.agent.metrics.counters import Counters
from cilia.runtime.table import Change
from cilia.service import Services
from cilia.state.tables import Tables

_WAITING = 1024
"""Batches of services on their way; beyond it the oldest is not timed."""


class _OnTheWay(NamedTuple):
    """Services that are not in the kernel yet."""

    actions: tuple[str, ...]
    heard: float
    revision: int


class Follower:
    """A Service that follows services and nodes for their metrics."""

    name = "metrics follower"

    def __init__(self, tables: Tables, services: Services, counters: Counters) -> None:
        self._tables = tables
        self._counters = counters
        self._reconciler = services.reconciler.name
        self._on_the_way: deque[_OnTheWay] = deque(maxlen=_WAITING)
        self._has_some = asyncio.Event()
        services.observe = self.note_services

    def note_services(self, changes: Sequence[Change[Any]], heard: float, revision: int) -> None:
        """Takes note of changes that are in the kernel once the frontends' revision is."""
        actions = tuple(action(each) for each in changes)
        for each in actions:
            self._counters.service_events.labels(each).inc()
        self._on_the_way.append(_OnTheWay(actions, heard, revision))
        self._has_some.set()

    async def run(self, ready: asyncio.Event) -> None:
        """Follows until cancelled; ready at once."""
        ready.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._time_services(), name="metrics services")
            group.create_task(self._follow_nodes(), name="metrics nodes")

    async def _time_services(self) -> None:
        while True:
            await self._has_some.wait()
            self._has_some.clear()
            while self._on_the_way:
                actions, heard, revision = self._on_the_way.popleft()
                await self._tables.frontends.wait_reconciled(revision, by=self._reconciler)
                for each in actions:
                    delay_s = time.monotonic() - heard
                    self._counters.service_delay.labels(each).observe(delay_s)

    async def _follow_nodes(self) -> None:
        with self._tables.nodes.watch() as feed:
            async for batch in feed:
                for change in batch.changes:
                    row = change.new or change.old
                    source = row.source if row is not None else ""
                    self._counters.node_events.labels(action(change), source).inc()


def action(change: Change[Any]) -> str:
    """Returns what a change is: add, update or delete."""
    if change.old is None:
        return "add"
    return "delete" if change.new is None else "update"
