"""Identities in files: what a lone node keeps over a restart, and what spoils."""

import asyncio
from pathlib import Path

import pytest

from cilia.identity.allocation import ClusterIdentities
from cilia.identity.files import FileIdentities
from cilia.identity.ports import Listed, NumberTaken, Removed, StoreAway, Stored, StoredIdentity
from cilia.model.identities import candidate_number
from cilia.state import identities

WEB = ("k8s:app=web",)
DB = ("k8s:app=db",)


def listed(folder: Path) -> tuple[StoredIdentity, ...]:
    async def first() -> tuple[StoredIdentity, ...]:
        event = await anext(FileIdentities(folder).follow())
        assert isinstance(event, Listed)
        return event.identities

    return asyncio.run(first())


def test_numbers_are_those_of_a_cluster_and_survive(tmp_path: Path) -> None:
    async def allocate() -> int:
        agent = ClusterIdentities(FileIdentities(tmp_path / "ids"), identities.table())
        return await agent.allocate(WEB)

    number = asyncio.run(allocate())
    assert number == candidate_number(WEB)
    assert [(one.number, one.labels) for one in listed(tmp_path / "ids")] == [(number, WEB)]


def test_a_number_belongs_to_one_label_set(tmp_path: Path) -> None:
    async def take_twice() -> None:
        store = FileIdentities(tmp_path)
        assert await store.create(300, WEB) == await store.create(300, WEB)
        with pytest.raises(NumberTaken, match="300"):
            await store.create(300, DB)

    asyncio.run(take_twice())


def test_marks_and_removals_are_told_and_kept_unless_somebody_wrote_meanwhile(
    tmp_path: Path,
) -> None:
    async def live() -> None:
        store = FileIdentities(tmp_path)
        events = store.follow()
        assert await anext(events) == Listed(())
        made = await store.create(300, WEB)
        assert await anext(events) == Stored(made)
        await store.mark_unused(made, 5.0)
        marked = await anext(events)
        assert isinstance(marked, Stored)
        assert marked.identity.unused_since == 5.0
        await store.mark_unused(made, 0.0)
        await store.remove(made)
        assert numbers() == {300}, "an older version was written or removed"
        await store.remove(marked.identity)
        assert await anext(events) == Removed(300)

    def numbers() -> set[int]:
        return {int(path.stem) for path in tmp_path.glob("*.json")}

    asyncio.run(live())
    assert listed(tmp_path) == ()


def test_a_broken_file_costs_its_identity_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = FileIdentities(tmp_path)
    asyncio.run(store.create(300, WEB))
    (tmp_path / "301.json").write_text('{"number": 3')
    assert [one.number for one in listed(tmp_path)] == [300]
    assert "identity unreadable" in caplog.text


def test_a_disk_that_does_not_take_it_is_a_store_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreAway, match="identity 300"):
        asyncio.run(FileIdentities(tmp_path / "file").create(300, WEB))
