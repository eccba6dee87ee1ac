"""Rows to the outside: update, delete and prune, with retries and a status per row."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from cilia.model.backoff import Backoff
from cilia.model.errors import CiliaError
from cilia.runtime.table import Change, Table, Watch

log = logging.getLogger(__name__)

Row = TypeVar("Row")
RowIn = TypeVar("RowIn", contravariant=True)

FULL_S = 600.0
"""Seconds between looks at everything, should somebody else have changed the outside."""


class Failed(msgspec.Struct, frozen=True):
    """One row that could not be brought out."""

    key: Hashable
    message: str


class Target(Protocol[RowIn]):
    """The outside. Operations are idempotent, and take many rows at once.

    Each returns the rows that failed; it raises CiliaError when all did.
    """

    async def update(self, rows: Sequence[RowIn]) -> Sequence[Failed]:
        """Makes the outside have these rows."""
        ...

    async def delete(self, rows: Sequence[RowIn]) -> Sequence[Failed]:
        """Makes the outside have none of these rows."""
        ...

    async def prune(self, rows: Sequence[RowIn]) -> Sequence[Failed]:
        """Makes the outside have these rows and no others that are ours."""
        ...


class RowStatus(msgspec.Struct, frozen=True):
    """How a row that is not in place came to be so."""

    message: str
    attempts: int
    since: float
    """Seconds since the epoch of the first failure."""


class Reconciler(Generic[Row]):
    """Keeps a target in step with a table.

    It updates and deletes as rows change; once the table is synced it prunes, and
    again every `full_s` seconds. What fails stays in `failing` and is tried again
    with growing pauses, together with what changes meanwhile. The table's
    `reconciled(name)` moves only over revisions of which every row is in place.
    """

    def __init__(
        self, name: str, table: Table[Row], target: Target[Row], *, full_s: float = FULL_S
    ) -> None:
        self.name = name
        self.failing: dict[Hashable, RowStatus] = {}
        self.updated = 0
        self.observe: Callable[[int, float], None] = lambda _failing, _took_s: None
        """Is told of every round: how many rows are not in place, and how long it took."""
        self._table = table
        self._target = target
        self._full_s = full_s
        self._pruned = False
        self._backoff = Backoff(first_s=0.05)
        self._retry: dict[Hashable, Change[Row]] = {}

    async def run(self, ready: asyncio.Event) -> None:
        """Reconciles until cancelled; ready after the first round."""
        loop = asyncio.get_running_loop()
        full_at = loop.time() + self._full_s
        with self._table.watch() as watch:
            while True:
                began = time.perf_counter()
                await self._round(watch)
                self.observe(len(self.failing), time.perf_counter() - began)
                ready.set()
                wait_s = self._backoff.next_s() if self.failing else full_at - loop.time()
                try:
                    async with asyncio.timeout(max(wait_s, 0.0)):
                        await watch.pending.wait()
                except TimeoutError:
                    if loop.time() >= full_at:
                        self._pruned = False
                        full_at = loop.time() + self._full_s

    async def _round(self, watch: Watch[Row]) -> None:
        batch = watch.take()
        due = {**self._retry, **{change.key: change for change in batch.changes}}
        for change in batch.changes:
            if (earlier := self._retry.get(change.key)) is not None and change.old is None:
                due[change.key] = Change(change.key, earlier.old, change.new)
        prune = batch.synced and not self._pruned
        updates = {key: change for key, change in due.items() if change.new is not None}
        deletes = {key: change for key, change in due.items() if change.new is None}
        failed: dict[Hashable, str] = {}
        gone = [change.old for change in deletes.values() if change.old is not None]
        if prune:
            rows = self._table.snapshot()
            failed |= await self._attempt(self._target.prune, rows, [*updates, *deletes, "prune"])
            self._pruned = not failed
        else:
            rows = [change.new for change in updates.values() if change.new is not None]
            failed |= await self._attempt(self._target.update, rows, list(updates))
            failed |= await self._attempt(self._target.delete, gone, list(deletes))
        self._note(due, failed, len(rows))
        if not self.failing:
            self._backoff.reset()
            self._table.reconciled(self.name, batch.revision)

    async def _attempt(
        self, operation: "Operation[Row]", rows: Sequence[Row], keys: Sequence[Hashable]
    ) -> dict[Hashable, str]:
        if not rows and operation != self._target.prune:
            return {}
        try:
            return {each.key: each.message for each in await operation(rows)}
        except CiliaError as error:
            return dict.fromkeys(keys, str(error))

    def _note(
        self, due: dict[Hashable, Change[Row]], failed: dict[Hashable, str], rows: int
    ) -> None:
        self._retry = {key: change for key, change in due.items() if key in failed}
        self.updated += rows - len(self._retry)
        now = time.time()
        before, self.failing = self.failing, {}
        for key, message in failed.items():
            earlier = before.get(key)
            self.failing[key] = RowStatus(
                message,
                attempts=earlier.attempts + 1 if earlier else 1,
                since=earlier.since if earlier else now,
            )
        if self.failing and not before:
            key, status = next(iter(self.failing.items()))
            log.error(
                "rows not in place",
                extra={
                    "reconciler": self.name,
                    "rows": len(self.failing),
                    "first": str(key),
                    "error": status.message,
                },
            )
        elif before and not self.failing:
            log.info("all rows in place again", extra={"reconciler": self.name})


class Operation(Protocol[RowIn]):
    """One of a target's operations."""

    async def __call__(self, rows: Sequence[RowIn], /) -> Sequence[Failed]: ...
