"""Which flows a request gets, against the contract's rules, and what a slow reader is told."""

import asyncio
from typing import Any

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.filters import FlowTest, InvalidFilterError, Scene
from cilia.hubble.filters.terms import Mask
from cilia.hubble.flows import FlowMaker
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.server.getflows import FlowStream
from cilia.hubble.server.limits import InvalidRequestError
from cilia.hubble.store import LOSSES, FlowStore, Rows
from unit.hubble.made_records import RECORD, KnownNames, records

SECOND = 1_000_000_000
DEADLINE_S = 30


def filled(count: int, capacity: int = 64) -> FlowStore:
    """Flow n is of second n, and goes to port 80 when n is even, 53 when it is odd."""
    store = FlowStore(RECORD, capacity)
    add(store, count)
    return store


def add(store: FlowStore, count: int) -> None:
    numbers = np.arange(store.total, store.total + count)
    batch = records(
        count,
        time=numbers * SECOND,
        source_port=numbers,
        destination_port=np.where(numbers % 2, 53, 80),
    )
    store.add(batch, 0)
    store.parties.join(KnownNames())
    store.show(store.total)


def stream(store: FlowStore, **request: Any) -> FlowStream:
    maker = FlowMaker(store, KnownNames(), "default/n", "0")
    return FlowStream(observer_pb2.GetFlowsRequest(**request), Scene(store, "default/n"), maker)


def seconds(number: int) -> Timestamp:
    return Timestamp(seconds=number)


def asked(store: FlowStore, **request: Any) -> list[int]:
    """The numbers of the flows that a request gets."""

    async def read() -> list[int]:
        return [
            one.flow.l4.TCP.source_port
            async for one in stream(store, **request).responses()
            if one.HasField("flow")
        ]

    return asyncio.run(asyncio.wait_for(read(), DEADLINE_S))


EVEN = [flow_pb2.FlowFilter(destination_port=["80"])]


@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(0, 100),
    number=st.integers(0, 40),
    first=st.booleans(),
    since=st.none() | st.integers(0, 110),
    until=st.none() | st.integers(0, 110),
    even=st.booleans(),
)
def test_requests_get_what_the_rules_say(
    total: int, number: int, first: bool, since: int | None, until: int | None, even: bool
) -> None:
    store = filled(total)
    expected = [
        n
        for n in range(total)[-64:]
        if (since is None or n >= since)
        and (until is None or n <= until)
        and (not even or n % 2 == 0)
    ]
    if number:
        expected = expected[:number] if first or since is not None else expected[-number:]
    request: dict[str, Any] = {"number": number, "first": first}
    if since is not None:
        request["since"] = seconds(since)
    if until is not None:
        request["until"] = seconds(until)
    assert asked(store, **request, whitelist=EVEN if even else []) == expected


def test_newest_flows_of_which_there_are_few_are_looked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at, judge = [], FlowTest.__call__

    def counted(test: FlowTest, rows: Rows) -> Mask:
        looked_at.append(len(rows))
        return judge(test, rows)

    monkeypatch.setattr(FlowTest, "__call__", counted)
    only = flow_pb2.FlowFilter(source_port=["60"])
    assert asked(filled(64), number=20, whitelist=[only]) == [60]
    assert sum(looked_at) == 64 + 4


def test_what_is_denied_is_left_out() -> None:
    assert asked(filled(6), blacklist=EVEN) == [1, 3, 5]


async def numbers_of(stream: FlowStream, count: int) -> list[int]:
    found: list[int] = []
    async for response in stream.responses():
        found.append(response.flow.l4.TCP.source_port)
        if len(found) == count:
            break
    return found


def test_a_follower_gets_what_comes() -> None:
    async def run() -> tuple[list[int], list[int]]:
        store = filled(5)
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            new = group.create_task(numbers_of(stream(store, follow=True), 3))
            last = group.create_task(numbers_of(stream(store, follow=True, number=2), 5))
            while store.followers < 2:
                await asyncio.sleep(0)
            add(store, 3)
        return new.result(), last.result()

    assert asyncio.run(run()) == ([5, 6, 7], [3, 4, 5, 6, 7])


def test_a_follower_ends_at_its_until() -> None:
    async def run() -> list[int]:
        store = filled(2)
        follower = stream(store, follow=True, until=seconds(3))
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            reading = group.create_task(numbers_of(follower, 100))
            while not store.followers:
                await asyncio.sleep(0)
            add(store, 5)
        return reading.result()

    assert asyncio.run(run()) == [2, 3]


def test_flows_whose_names_are_being_asked_for_are_not_shown() -> None:
    store = filled(2)
    store.add(records(1), 0)
    assert asked(store) == [0, 1]


def test_a_slow_reader_is_told_what_it_missed_and_slows_nobody() -> None:
    async def run() -> tuple[list[int], int]:
        store = filled(8, capacity=8)
        numbers, lost = [], 0
        reading = stream(store).responses()
        async for response in reading:
            if response.HasField("lost_events"):
                assert response.lost_events.source == flow_pb2.HUBBLE_RING_BUFFER
                lost += response.lost_events.num_events_lost
            else:
                numbers.append(response.flow.l4.TCP.source_port)
            if len(numbers) == 1 and store.total == 8:
                add(store, 5)
        return numbers, lost

    numbers, lost = asyncio.run(asyncio.wait_for(run(), DEADLINE_S))
    assert numbers == [0, 5, 6, 7]
    assert lost == 4


def test_losses_of_the_rings_come_in_their_place_whatever_the_filters() -> None:
    async def run() -> list[tuple[int, int]]:
        store = filled(2)
        store.report_lost(7 * SECOND, 3, 11)
        add(store, 1)
        never = [flow_pb2.FlowFilter(destination_port=["1"])]
        return [
            (one.lost_events.cpu.value, one.lost_events.num_events_lost)
            async for one in stream(store, whitelist=never).responses()
        ]

    assert asyncio.run(asyncio.wait_for(run(), DEADLINE_S)) == [(3, 11)]


def test_a_loss_that_flows_without_names_come_before_keeps_nobody_busy() -> None:
    async def run() -> list[int]:
        store = filled(2)
        store.add(records(1), 0)
        store.report_lost(7 * SECOND, 3, 11)
        waiting = asyncio.create_task(store.wait(2, 0))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        responses = stream(store, follow=True).responses()
        reading = asyncio.create_task(anext(responses))
        while not store.followers:
            await asyncio.sleep(0)
        store.show(store.total)
        found = [await reading, await anext(responses)]
        await responses.aclose()
        return [one.lost_events.num_events_lost for one in found]

    assert asyncio.run(asyncio.wait_for(run(), DEADLINE_S)) == [0, 11]


def test_losses_that_nobody_remembers_are_told_as_one() -> None:
    async def run() -> tuple[list[int], list[int]]:
        store = filled(2)
        store.report_lost(SECOND, 0, 5)
        responses = stream(store, follow=True, number=2).responses()
        await anext(responses)
        for _ in range(2 * LOSSES):
            store.report_lost(2 * SECOND, 1, 2)
        add(store, 1)
        told: list[int] = []
        flows: list[int] = []
        while sum(told) < 4 * LOSSES + 5:
            one = await anext(responses)
            if one.HasField("lost_events"):
                told.append(one.lost_events.num_events_lost)
            else:
                flows.append(one.flow.l4.TCP.source_port)
        await responses.aclose()
        return told, flows

    told, flows = asyncio.run(asyncio.wait_for(run(), DEADLINE_S))
    assert sum(told) == 4 * LOSSES + 5
    assert flows[0] == 1


def test_a_field_mask_leaves_only_its_fields() -> None:
    mask = FieldMask(paths=["time", "IP.source", "source.pod_name", "Type"])

    async def run() -> list[observer_pb2.GetFlowsResponse]:
        return [one async for one in stream(filled(1), field_mask=mask).responses()]

    (response,) = asyncio.run(run())
    assert response.flow == flow_pb2.Flow(
        time=seconds(0),
        IP=flow_pb2.IP(source="10.0.1.5"),
        source=flow_pb2.Endpoint(pod_name="xwing"),
        Type=flow_pb2.L3_L4,
    )
    assert (response.node_name, response.time) == ("default/n", seconds(0))


def test_a_field_mask_without_time_leaves_the_answer_its_time_and_node() -> None:
    mask = FieldMask(paths=["IP.source"])

    async def run() -> list[observer_pb2.GetFlowsResponse]:
        return [one async for one in stream(filled(3), field_mask=mask).responses()]

    answers = asyncio.run(run())
    assert [(one.node_name, one.time.seconds) for one in answers] == [
        ("default/n", second) for second in range(3)
    ]
    assert not any(one.flow.HasField("time") or one.flow.node_name for one in answers)


@pytest.mark.parametrize(
    ("request_fields", "error"),
    [
        ({"first": True, "follow": True}, InvalidRequestError),
        ({"field_mask": FieldMask(paths=["nonsense"])}, InvalidRequestError),
        ({"whitelist": [flow_pb2.FlowFilter(source_ip=["x"])]}, InvalidFilterError),
    ],
)
def test_nonsense_is_refused(request_fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        stream(filled(1), **request_fields)


def test_moments_beyond_all_time_are_understood() -> None:
    far = Timestamp(seconds=(1 << 62))
    assert asked(filled(3), until=far) == [0, 1, 2]
    assert asked(filled(3), since=far) == []
    assert asked(filled(3), number=(1 << 64) - 1) == [0, 1, 2]
