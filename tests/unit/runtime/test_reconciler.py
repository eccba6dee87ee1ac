"""The reconciler: what a target is told, what is retried, when a revision counts."""

import asyncio
from collections.abc import Sequence

import msgspec

from cilia.model.errors import CiliaError
from cilia.runtime.reconciler import Failed, Reconciler
from cilia.runtime.table import Table


class Item(msgspec.Struct, frozen=True):
    name: str
    size: int = 0


class Shelf:
    """A target in memory that refuses some names and can break as a whole."""

    def __init__(self, **found: int) -> None:
        self.has: dict[str, int] = dict(found)
        self.refused: set[str] = set()
        self.broken = False

    async def update(self, rows: Sequence[Item]) -> Sequence[Failed]:
        if self.broken:
            raise CiliaError("the shelf is broken")
        good = [row for row in rows if row.name not in self.refused]
        self.has |= {row.name: row.size for row in good}
        return [Failed(row.name, "refused") for row in rows if row.name in self.refused]

    async def delete(self, rows: Sequence[Item]) -> Sequence[Failed]:
        if self.broken:
            raise CiliaError("the shelf is broken")
        for row in rows:
            self.has.pop(row.name, None)
        return []

    async def prune(self, rows: Sequence[Item]) -> Sequence[Failed]:
        failed = await self.update(rows)
        names = {row.name for row in rows}
        self.has = {name: size for name, size in self.has.items() if name in names}
        return failed


def table() -> Table[Item]:
    return Table("items", lambda row: row.name)


def test_nothing_is_pruned_before_the_table_is_synced() -> None:
    async def scene() -> None:
        items, shelf = table(), Shelf(stale=1)
        items.upsert(Item("a", 1))
        keeper = Reconciler("shelf", items, shelf)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            task = group.create_task(keeper.run(asyncio.Event()))
            await items.wait_reconciled(items.revision, by="shelf")
            assert shelf.has == {"stale": 1, "a": 1}
            items.mark_synced()
            items.upsert(Item("b", 2))
            await items.wait_reconciled(items.revision, by="shelf")
            assert shelf.has == {"a": 1, "b": 2}
            items.delete("a")
            await items.wait_reconciled(items.revision, by="shelf")
            assert shelf.has == {"b": 2}
            task.cancel()

    asyncio.run(scene())


def test_a_row_that_fails_is_retried_and_holds_the_revision_back() -> None:
    async def scene() -> None:
        items, shelf = table(), Shelf()
        shelf.refused = {"bad"}
        keeper = Reconciler("shelf", items, shelf)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            task = group.create_task(keeper.run(ready))
            await ready.wait()
            before = items.reconciled_revision("shelf")
            items.upsert(Item("bad", 1), Item("good", 1))
            while not keeper.failing:
                await asyncio.sleep(0)
            assert shelf.has == {"good": 1}
            assert keeper.failing["bad"].message == "refused"
            assert items.reconciled_revision("shelf") == before
            shelf.refused = set()
            await items.wait_reconciled(items.revision, by="shelf")
            assert shelf.has == {"good": 1, "bad": 1}
            assert not keeper.failing
            task.cancel()

    asyncio.run(scene())


def test_a_target_that_breaks_as_a_whole_gets_everything_again() -> None:
    async def scene() -> None:
        items, shelf = table(), Shelf(old=1)
        items.upsert(Item("old", 1))
        keeper = Reconciler("shelf", items, shelf)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            task = group.create_task(keeper.run(ready))
            await ready.wait()
            shelf.broken = True
            items.delete("old")
            items.upsert(Item("a"))
            while not keeper.failing:
                await asyncio.sleep(0)
            assert "broken" in keeper.failing["a"].message
            shelf.broken = False
            await items.wait_reconciled(items.revision, by="shelf")
            assert shelf.has == {"a": 0}
            task.cancel()

    asyncio.run(scene())
