"""Tables: reads, indexes, coalesced feeds, waiting for a reconciler."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.runtime.table import Change, Table, TableError


class Item(msgspec.Struct, frozen=True):
    name: str
    colours: tuple[str, ...] = ()


def items() -> Table[Item]:
    return Table(
        "items",
        lambda row: row.name,
        indexes={"colour": lambda row: row.colours},
        writer="shop",
    )


def test_an_index_follows_its_rows() -> None:
    table = items()
    table.upsert(Item("a", ("red",)), Item("b", ("red", "blue")))
    table.upsert(Item("a", ("blue",)))
    assert {row.name for row in table.by("colour", "blue")} == {"a", "b"}
    assert [row.name for row in table.by("colour", "red")] == ["b"]
    table.delete("b", "nobody")
    assert table.by("colour", "red") == []


def test_writing_an_equal_row_changes_nothing() -> None:
    table = items()
    revision = table.upsert(Item("a"))
    assert table.upsert(Item("a")) == revision
    assert table.delete("nobody") == revision


def test_only_the_named_room_may_write_and_only_one_of_it() -> None:
    table = items()
    with pytest.raises(TableError, match="written by shop"):
        table.claim("thief")
    table.claim("shop")
    with pytest.raises(TableError, match="again"):
        table.claim("shop")


def test_replace_removes_only_among_the_named_keys() -> None:
    table = items()
    table.upsert(Item("a"), Item("b"), Item("c"))
    table.replace([Item("a"), Item("d")], among=["a", "b"])
    assert sorted(row.name for row in table) == ["a", "c", "d"]


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcd"), st.sampled_from(["red", "blue"])),
        st.tuples(st.just("delete"), st.sampled_from("abcd"), st.just("")),
        st.tuples(st.just("look"), st.just(""), st.just("")),
    ),
    max_size=40,
)


@given(operations)
def test_a_feed_leads_a_copy_to_the_table_with_one_change_a_row(
    steps: list[tuple[str, str, str]],
) -> None:
    table = items()
    table.upsert(Item("a", ("red",)))
    copy: dict[object, Item] = {}
    with table.watch() as watch:
        for step, name, colour in [*steps, ("look", "", "")]:
            if step == "put":
                table.upsert(Item(name, (colour,)))
            elif step == "delete":
                table.delete(name)
            else:
                batch = watch.take()
                keys = [change.key for change in batch.changes]
                assert len(keys) == len(set(keys))
                for change in batch.changes:
                    assert copy.get(change.key) == change.old
                    assert change.old != change.new
                    if change.new is None:
                        del copy[change.key]
                    else:
                        copy[change.key] = change.new
                assert batch.revision == table.revision
                assert copy == {row.name: row for row in table}


def test_a_reader_waits_for_the_next_change() -> None:
    async def scene() -> list[Change[Item]]:
        table = items()
        with table.watch() as watch:
            watch.take()
            asyncio.get_running_loop().call_soon(table.upsert, Item("a"))
            return (await anext(watch)).changes

    assert asyncio.run(scene()) == [Change("a", None, Item("a"))]


def test_synced_reaches_the_feed_even_without_rows() -> None:
    async def scene() -> Iterator[bool]:
        table = items()
        with table.watch() as watch:
            before = (await anext(watch)).synced
            table.mark_synced()
            return iter((before, (await anext(watch)).synced))

    assert list(asyncio.run(scene())) == [False, True]


def test_wait_reconciled_waits_for_the_slowest() -> None:
    async def scene() -> None:
        table = items()
        table.reconciled("fast", 0)
        table.reconciled("slow", 0)
        revision = table.upsert(Item("a"))
        waiter = asyncio.ensure_future(table.wait_reconciled(revision))
        table.reconciled("fast", revision)
        await table.wait_reconciled(revision, by="fast")
        assert not waiter.done()
        table.reconciled("slow", revision)
        async with asyncio.timeout(5):
            await waiter

    asyncio.run(scene())
