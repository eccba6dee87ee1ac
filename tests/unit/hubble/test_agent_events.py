"""GetAgentEvents against a plain reading of its rules."""

import asyncio

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.server.agent_events import AgentEventStream, AgentHistory, Request
from cilia.hubble.server.limits import InvalidRequestError

bounds = st.none() | st.integers(0, 12)


def history_of(times: list[int], capacity: int = 100) -> AgentHistory:
    history = AgentHistory(capacity)
    for time in times:
        history.add(time, flow_pb2.AgentEvent(type=flow_pb2.POLICY_UPDATED))
    return history


def moment(ns: int | None) -> Timestamp | None:
    return None if ns is None else Timestamp(nanos=ns)


async def told(request: Request, history: AgentHistory) -> list[int]:
    stream = AgentEventStream(request, history, "default/node-1")
    return [one.time.ToNanoseconds() async for one in stream.responses()]


@given(
    st.lists(st.integers(0, 12), max_size=12).map(sorted),
    st.integers(0, 6), st.booleans(), bounds, bounds,
)  # fmt: skip
def test_events_that_are_there(
    times: list[int], number: int, first: bool, since: int | None, until: int | None
) -> None:
    request = Request(number=number, first=first, since=moment(since), until=moment(until))
    wanted = [one for one in times if until is None or one <= until]
    if since is not None:
        wanted = [one for one in wanted if one >= since]
        wanted = wanted[:number] if number else wanted
    elif number:
        wanted = wanted[:number] if first else wanted[-number:]
    assert asyncio.run(told(request, history_of(times))) == wanted


def test_follow_goes_on_and_says_what_it_missed() -> None:
    async def run() -> None:
        history = history_of([1, 2], capacity=4)
        request = Request(follow=True, number=1)
        answers = AgentEventStream(request, history, "default/node-1").responses()
        assert (await anext(answers)).time.nanos == 2
        waiting = asyncio.create_task(anext(answers))
        await asyncio.sleep(0)
        history.add(3, flow_pb2.AgentEvent())
        assert (await waiting).time.nanos == 3
        for time in range(4, 12):
            history.add(time, flow_pb2.AgentEvent())
        lost = (await anext(answers)).agent_event
        assert (lost.unknown.type, lost.unknown.notification[:1]) == ("lost", "4")
        assert (await anext(answers)).time.nanos == 8

    asyncio.run(run())


def test_first_does_not_go_with_follow() -> None:
    with pytest.raises(InvalidRequestError):
        AgentEventStream(Request(first=True, follow=True), history_of([]), "n")
