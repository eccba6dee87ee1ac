"""Streams of nodes that break, hang or are replaced while their client reads on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from cilia.hubble.peers import Peer
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.relay import relay_pb2
from cilia.hubble.relay import flows
from cilia.hubble.relay.connection import State
from cilia.hubble.relay.flows import MergedFlows, MergeSettings

DEADLINE_S = 30
Response = observer_pb2.GetFlowsResponse


class Call:
    """One stream: what is put into it comes out; None breaks it."""

    def __init__(self, request: bytes) -> None:
        self.request = observer_pb2.GetFlowsRequest.FromString(request)
        self.coming: asyncio.Queue[Response | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (answer := await self.coming.get()) is not None:
            yield answer.SerializeToString()
        metadata = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, metadata, metadata, "broken")

    def cancel(self) -> None:
        """Nothing to free."""


class Node:
    """A connection that stays, and its streams."""

    def __init__(self) -> None:
        self.peer = Peer("n", "unix:///n")
        self.state, self.problem, self.generation = State.CONNECTED, "", 1
        self.calls: list[Call] = []
        self.channel = self

    def unary_stream(self, method: str) -> Any:
        """As a channel has it."""

        def ask(request: bytes, metadata: Any) -> Call:
            self.calls.append(Call(request))
            return self.calls[-1]

        return ask


class Pool:
    """One node."""

    def __init__(self, node: Node) -> None:
        self.nodes = {"n": node}
        self.connected = [node]
        self.unavailable: list[Node] = []
        self.moved = asyncio.Event()

    def move(self) -> None:
        """Something has changed."""
        before, self.moved = self.moved, asyncio.Event()
        before.set()


def flow(nanos: int) -> Response:
    made = Response(flow=flow_pb2.Flow(uuid=str(nanos)), node_name="n")
    made.time.nanos = nanos
    return made


def loss(nanos: int) -> Response:
    made = Response(lost_events=flow_pb2.LostEvent(num_events_lost=1), node_name="n")
    made.time.nanos = nanos
    return made


class Client:
    """One client that follows."""

    def __init__(self, pool: Pool, length: int = 100) -> None:
        request = observer_pb2.GetFlowsRequest(follow=True).SerializeToString()
        settings = MergeSettings(length, 0.0, 0.0)
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.got: list[Response] = []
        self.merged = MergedFlows(request, (), pool, settings, "relay")  # type: ignore[arg-type]  # a stand-in for the pool

    async def write(self, message: bytes) -> None:
        await self.may_read.wait()
        self.got.append(Response.FromString(message))

    @property
    def flows(self) -> list[int]:
        return [one.time.nanos for one in self.got if one.HasField("flow")]


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_a_stream_that_broke_on_a_connection_that_did_not_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flows, "REJOIN_S", 0.01)

    async def run() -> None:
        node = Node()
        client = Client(Pool(node))
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            writing = group.create_task(client.merged.write_to(client.write))
            await until(lambda: node.calls)
            for one in (flow(5), loss(900), None):
                node.calls[0].coming.put_nowait(one)
            await until(lambda: len(node.calls) == 2)
            assert node.calls[1].request.since.nanos == 6, "a loss says nothing about flows"
            node.calls[1].coming.put_nowait(flow(7))
            await until(lambda: client.flows == [5, 7])
            writing.cancel()

    asyncio.run(run())


def test_a_stream_that_another_has_replaced_has_nothing_to_say() -> None:
    async def run() -> None:
        node = Node()
        pool = Pool(node)
        client = Client(pool, length=1)
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            writing = group.create_task(client.merged.write_to(client.write))
            await until(lambda: node.calls)
            client.may_read.clear()
            for nanos in (1, 2, 3):
                node.calls[0].coming.put_nowait(flow(nanos))
            await until(lambda: client.merged._held)
            seen = client.merged._seen["n"]
            node.generation = 2
            pool.move()
            await until(lambda: len(node.calls) == 2)
            assert node.calls[1].request.since.nanos == seen + 1
            for nanos in range(seen + 1, 6):
                node.calls[1].coming.put_nowait(flow(nanos))
            client.may_read.set()
            await until(lambda: 5 in client.flows)
            node.calls[0].coming.put_nowait(None)
            await until(lambda: client.merged._reading == 1)
            assert client.flows == [1, 2, 3, 4, 5]
            assert not any(
                one.node_status.state_change == relay_pb2.NODE_UNAVAILABLE for one in client.got
            )
            writing.cancel()

    asyncio.run(run())
