"""Allocation: nodes that race for numbers, an API server that is away, numbers that vanish."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.identity import allocation
from cilia.identity.allocation import ClusterIdentities
from cilia.identity.local import LocalIdentities
from cilia.identity.ports import (
    Listed,
    NumberTaken,
    Removed,
    StoreAway,
    Stored,
    StoredIdentity,
)
from cilia.model.identities import OTHER_LOCAL_FIRST, candidate_number
from cilia.model.labels import LabelSet
from cilia.state import identities

WEB: LabelSet = ("k8s:app=web",)
DB: LabelSet = ("k8s:app=db",)


class Cluster:
    """Identities in memory, seen by several nodes, each with a delay of its own."""

    def __init__(self) -> None:
        self.held: dict[int, StoredIdentity] = {}
        self.away = False
        self.queues: list[asyncio.Queue[Listed | Stored | Removed]] = []
        self.version = 0

    async def create(self, number: int, labels: LabelSet) -> StoredIdentity:
        await asyncio.sleep(0)
        if self.away:
            raise StoreAway("the API server is away")
        if number not in self.held:
            self.put(StoredIdentity(number, labels))
        elif self.held[number].labels != labels:
            raise NumberTaken(str(number))
        return self.held[number]

    async def mark_unused(self, identity: StoredIdentity, since: float) -> None:
        if self.held[identity.number].version == identity.version:
            self.put(StoredIdentity(identity.number, identity.labels, unused_since=since))

    async def remove(self, identity: StoredIdentity) -> None:
        if self.held[identity.number].version == identity.version:
            del self.held[identity.number]
            self.tell(Removed(identity.number))

    def put(self, identity: StoredIdentity) -> None:
        self.version += 1
        fresh = StoredIdentity(
            identity.number,
            identity.labels,
            version=str(self.version),
            unused_since=identity.unused_since,
        )
        self.held[identity.number] = fresh
        self.tell(Stored(fresh))

    def tell(self, event: Stored | Removed) -> None:
        for queue in self.queues:
            queue.put_nowait(event)

    async def follow(self) -> AsyncIterator[Listed | Stored | Removed]:
        queue: asyncio.Queue[Listed | Stored | Removed] = asyncio.Queue()
        queue.put_nowait(Listed(tuple(self.held.values())))
        self.queues.append(queue)
        while True:
            yield await queue.get()


def node(cluster: Cluster) -> ClusterIdentities:
    return ClusterIdentities(cluster, identities.table())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


label_sets = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=2, unique=True).map(
    lambda names: tuple(sorted(f"k8s:app={name}" for name in names))
)


@settings(deadline=None)
@given(
    wishes=st.lists(st.lists(label_sets, max_size=6), min_size=1, max_size=3),
    first=st.integers(0, 2),
)
def test_racing_nodes_agree_and_no_number_has_two_meanings(
    wishes: list[list[LabelSet]], first: int
) -> None:
    # A hash of three values: nearly every label set meets a taken number.
    def crowded(labels: LabelSet) -> int:
        return 300 + (len("".join(labels)) + ord(labels[0][-1]) + first) % 3

    async def scene() -> None:
        cluster = Cluster()
        nodes = [node(cluster) for _ in wishes]
        async with asyncio.TaskGroup() as group:
            follows = [group.create_task(each.run(asyncio.Event())) for each in nodes]
            async with asyncio.TaskGroup() as work:
                tasks = [
                    (labels, work.create_task(each.allocate(labels)))
                    for each, wish in zip(nodes, wishes, strict=True)
                    for labels in wish
                ]
            meaning: dict[LabelSet, int] = {}
            for labels, task in tasks:
                assert meaning.setdefault(labels, task.result()) == task.result()
            assert len(set(meaning.values())) == len(meaning)
            assert {one.labels: one.number for one in cluster.held.values()} == meaning
            for task in follows:
                task.cancel()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(allocation, "candidate_number", crowded)
        asyncio.run(scene())


def test_a_new_label_set_waits_visibly_while_known_ones_work() -> None:
    async def scene() -> None:
        cluster = Cluster()
        here = node(cluster)
        known = await here.allocate(WEB)
        cluster.away = True
        assert await here.allocate(WEB) == known
        async with asyncio.TaskGroup() as group:
            task = group.create_task(here.allocate(DB))
            await until(lambda: bool(here.waiting))
            assert "away" in here.waiting[DB]
            cluster.away = False
        assert task.result() == candidate_number(DB)
        assert not here.waiting

    asyncio.run(scene())


def test_a_restored_number_counts_before_the_api_server_was_heard() -> None:
    async def scene() -> None:
        cluster = Cluster()
        cluster.away = True
        here = node(cluster)
        here.restore(WEB, 4711)
        assert await here.allocate(WEB) == 4711
        assert here.references(WEB) == 2
        here.release(WEB)
        here.release(WEB)
        assert here.references(WEB) == 0

    asyncio.run(scene())


def test_a_number_in_use_that_is_deleted_is_made_again_and_never_vanishes_here() -> None:
    async def scene() -> None:
        cluster = Cluster()
        table = identities.table()
        here = ClusterIdentities(cluster, table)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(here.run(asyncio.Event()))
            number = await here.allocate(WEB)
            await until(lambda: bool(cluster.queues) and table.synced.is_set())
            with table.watch() as watch:
                watch.take()
                await cluster.remove(cluster.held[number])
                await until(lambda: number in cluster.held)
                assert not [change for change in watch.take().changes if change.new is None]
            task.cancel()

    asyncio.run(scene())


def test_a_mark_on_a_number_in_use_is_cleared_and_one_on_another_stays() -> None:
    async def scene() -> None:
        cluster = Cluster()
        here = node(cluster)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(here.run(asyncio.Event()))
            await until(lambda: bool(cluster.queues))
            number = await here.allocate(WEB)
            cluster.put(StoredIdentity(777, DB, unused_since=5.0))
            await cluster.mark_unused(cluster.held[number], 5.0)
            await until(lambda: not cluster.held[number].unused_since)
            assert cluster.held[777].unused_since == 5.0
            task.cancel()

    asyncio.run(scene())


def test_an_identity_that_goes_away_unused_leaves_the_table() -> None:
    async def scene() -> None:
        cluster = Cluster()
        cluster.put(StoredIdentity(777, DB))
        table = identities.table()
        here = ClusterIdentities(cluster, table)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(here.run(asyncio.Event()))
            await until(lambda: 777 in table)
            await cluster.remove(cluster.held[777])
            await until(lambda: 777 not in table)
            task.cancel()
        assert 1 in table

    asyncio.run(scene())


def test_local_numbers_are_shared_counted_and_freed() -> None:
    table = identities.table()
    local = LocalIdentities(table)
    first, again, other = local.hold(WEB), local.hold(WEB), local.hold(DB)
    assert first == again == OTHER_LOCAL_FIRST
    assert other == OTHER_LOCAL_FIRST + 1
    local.release(WEB)
    assert first in table
    local.release(WEB)
    assert first not in table
