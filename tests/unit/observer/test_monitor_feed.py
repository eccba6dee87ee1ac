"""What subscribers get, and that neither they nor the agent keep anybody waiting."""

import asyncio
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from cilia.hubble.monitor import Filters, Monitor, Subscriber
from cilia.observer import monitor_feed
from cilia.observer.monitor_feed import MonitorFeed
from unit.hubble.made_records import RECORD, KnownNames


class SlowNames(KnownNames):
    """Names that come when they may."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = asyncio.Event()

    async def learn(self, records: NDArray[np.void]) -> None:
        """Waits for the answer."""
        await self.answer.wait()


def drops(count: int) -> NDArray[np.void]:
    """Events of dropped packets."""
    records = np.zeros(count, RECORD)
    records["type"], records["subtype"], records["length"] = 1, 133, np.arange(count)
    return records


def watched(names: SlowNames, limit: int) -> tuple[MonitorFeed, Monitor, Subscriber]:
    """A feed whose monitor has one subscriber."""
    monitor, subscriber = Monitor({}), Subscriber(Filters())
    monitor._subscribers.add(subscriber)
    return MonitorFeed(monitor, names, limit), monitor, subscriber


async def lines(subscriber: Subscriber, count: int) -> list[dict[str, object]]:
    """What a subscriber is sent, until it was so many lines."""
    found: list[dict[str, object]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += [json.loads(line) for line in (await subscriber.take()).splitlines()]
    return found


def test_events_come_in_order_when_their_names_are_known() -> None:
    async def scene() -> list[dict[str, object]]:
        names = SlowNames()
        feed, _, subscriber = watched(names, 1000)
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed.run(asyncio.Event()))
            feed.offer(drops(150))
            feed.offer(drops(5))
            names.answer.set()
            found = await lines(subscriber, 155)
            feeding.cancel()
        return found

    assert [one["length"] for one in asyncio.run(scene())] == [*range(150), *range(5)]


def test_what_finds_no_room_is_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_feed, "LIMIT_S", 60)

    async def scene() -> None:
        names = SlowNames()
        feed, monitor, subscriber = watched(names, 100)
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed.run(asyncio.Event()))
            for _ in range(3):
                feed.offer(drops(60))
                await asyncio.sleep(0)
            assert monitor.lost == 80
            names.answer.set()
            found = await lines(subscriber, 101)
            told = [one["lost"] for one in found if one["type"] == "lost"]
            assert sum(told) == 80
            assert len(found) - len(told) == 100
            feed.offer(drops(100))
            assert monitor.lost == 80, "room comes back"
            await lines(subscriber, 100)
            feeding.cancel()

    asyncio.run(scene())


def test_an_agent_that_does_not_answer_costs_names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_feed, "LIMIT_S", 0.01)

    async def scene() -> list[dict[str, object]]:
        feed, _, subscriber = watched(SlowNames(), 100)
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed.run(asyncio.Event()))
            feed.offer(drops(3))
            found = await lines(subscriber, 3)
            feeding.cancel()
        return found

    assert [one["length"] for one in asyncio.run(scene())] == [0, 1, 2]


def test_a_loss_of_a_ring_that_finds_no_room_is_counted_whole() -> None:
    async def scene() -> list[dict[str, object]]:
        monitor, subscriber = Monitor({}), Subscriber(Filters(), 1)
        monitor._subscribers.add(subscriber)
        monitor.report_lost(0, 3)
        monitor.report_lost(1, 40)
        return await lines(subscriber, 2)

    assert [one["lost"] for one in asyncio.run(scene())] == [3, 40]
