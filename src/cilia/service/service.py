"""The Service that keeps the frontends table and the kernel's maps."""

import asyncio
import time
from collections.abc import Callable, Sequence

from cilia.runtime.reconciler import Reconciler
from cilia.runtime.table import Change, Changes
from cilia.service.frontend import frontends_of
from cilia.service.sync import KernelServices
from cilia.state.endpoint_slices import EndpointSlice
from cilia.state.frontends import Frontend
from cilia.state.services import Service
from cilia.state.tables import Tables

Placed = Callable[[Sequence[Change[Service]], float, int], None]
"""Changes of services, when they were heard (time.monotonic), and the revision of frontends
that brings them to the kernel."""


class Services:
    """Services and slices to frontends, and those to the kernel.

    Attributes:
        observe: Is told of changes of services.
    """

    name = "services"

    def __init__(self, tables: Tables, kernel: KernelServices) -> None:
        self._tables = tables
        self._frontends = tables.frontends
        self.reconciler = Reconciler("kernel", self._frontends, kernel)
        self.observe: Placed = lambda _changes, _heard, _revision: None

    async def run(self, ready: asyncio.Event) -> None:
        """Follows until cancelled; ready at once, since what is in the kernel goes on working."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.reconciler.run(ready), name="services kernel")
            group.create_task(self._follow(), name="services follow")

    async def _follow(self) -> None:
        services, slices = self._tables.services, self._tables.endpoint_slices
        # A service without its slices would lose the backends that it has in the kernel.
        await services.synced.wait()
        await slices.synced.wait()
        with services.watch() as service_feed, slices.watch() as slice_feed:
            while True:
                heard, batch = time.monotonic(), service_feed.take()
                touched = {
                    *_touched_services(batch),
                    *_touched_by_slices(slice_feed.take()),
                }
                self._place(touched)
                self._frontends.mark_synced()
                if batch.changes:
                    self.observe(batch.changes, heard, self._frontends.revision)
                await _either(service_feed.pending, slice_feed.pending)

    def _place(self, touched: set[tuple[str, str]]) -> None:
        gone: list[object] = []
        fresh: list[Frontend] = []
        for key in touched:
            service = self._tables.services.get(key)
            slices = self._tables.endpoint_slices.by("service", key)
            wanted = frontends_of(service, slices) if service is not None else []
            kept = {row.key for row in wanted}
            gone += [row.key for row in self._frontends.by("service", key) if row.key not in kept]
            fresh += wanted
        # What moves from one service to another is written, not removed.
        kept_all = {row.key for row in fresh}
        self._frontends.upsert(*fresh)
        self._frontends.delete(*[key for key in gone if key not in kept_all])


def _touched_services(batch: Changes[Service]) -> set[tuple[str, str]]:
    rows = [row for change in batch.changes for row in (change.old, change.new)]
    return {(row.namespace, row.name) for row in rows if row is not None}


def _touched_by_slices(batch: Changes[EndpointSlice]) -> set[tuple[str, str]]:
    rows = [row for change in batch.changes for row in (change.old, change.new)]
    return {(row.namespace, row.service) for row in rows if row is not None}


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(first.wait()), group.create_task(second.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
