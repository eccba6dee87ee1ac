"""Calls of clients, counted as they begin, speak and end."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cilia.hubble.peers import Peer
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.server.calls import code_name
from cilia.hubble.server.listener import HubbleApi, HubbleSocket
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import RECORD, KnownNames, records

OBSERVER = "observer.Observer"


async def talk(channel: grpc.aio.Channel, api: HubbleApi) -> None:
    """One call of each kind, and of each end."""
    stub = ObserverStub(channel)
    await stub.ServerStatus(observer_pb2.ServerStatusRequest())
    request = observer_pb2.GetFlowsRequest(number=3, first=True)
    assert len([one async for one in stub.GetFlows(request)]) == 3
    bad = flow_pb2.FlowFilter(source_ip=["nowhere"])
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.GetFlows(observer_pb2.GetFlowsRequest(whitelist=[bad])).read()
    following = stub.GetFlows(observer_pb2.GetFlowsRequest(follow=True))
    reading = asyncio.create_task(following.read())
    await until(api, ("started", "GetFlows"), 3)
    following.cancel()
    await until(api, ("handled", "GetFlows", "Canceled"), 1)
    await asyncio.wait([reading])
    with pytest.raises(grpc.aio.AioRpcError):
        await channel.unary_unary("/observer.Observer/Nothing")(b"")
    health = health_pb2_grpc.HealthStub(channel)
    await health.Check(health_pb2.HealthCheckRequest())
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")] * 2
    assert len([one async for one in reflection.ServerReflectionInfo(iter(asked))]) == 2


async def until(api: HubbleApi, key: tuple[str, ...], count: int) -> None:
    """Waits until a number is reached."""
    while counted(api)[key] < count:
        await asyncio.sleep(0.002)


def counted(api: HubbleApi) -> "dict[tuple[str, ...], float]":
    """By metric, method and, where it ended, code."""
    found: dict[tuple[str, ...], float] = Found()
    for metric in api.calls.collect():
        for one in metric.samples:
            short = one.name.removeprefix("grpc_server_").removesuffix("_total")
            code = [one.labels["grpc_code"]] if short == "handled" else []
            found[(short, one.labels["grpc_method"], *code)] = one.value
    return found


class Found(dict[tuple[str, ...], float]):
    """What is not there is 0."""

    def __missing__(self, key: tuple[str, ...]) -> float:
        return 0


def test_calls_messages_and_ends_are_counted(tmp_path: Path) -> None:
    store = FlowStore(RECORD, 64)
    store.add(records(10), 0)
    store.show(10)
    path = tmp_path / "hubble.sock"
    api = HubbleApi(store, KnownNames(), "default/node-1", "0", Peer("n", f"unix://{path}"))

    async def run() -> None:
        ready = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            server = group.create_task(HubbleSocket(path, api.server).run(ready))
            await ready.wait()
            async with grpc.aio.insecure_channel(f"unix://{path}") as channel:
                await talk(channel, api)
            server.cancel()

    asyncio.run(run())
    found = counted(api)
    assert found["started", "GetFlows"] == 3
    assert found["msg_received", "GetFlows"] == 3
    assert found["msg_sent", "GetFlows"] == 3
    ends = {key[2]: value for key, value in found.items() if key[:2] == ("handled", "GetFlows")}
    assert ends == {"OK": 1, "Unknown": 1, "Canceled": 1}
    for kind in ("started", "msg_received", "msg_sent"):
        assert found[kind, "ServerStatus"] == found[kind, "Check"] == 1
        assert found[kind, "ServerReflectionInfo"] == (1 if kind == "started" else 2)
    assert found["handled", "ServerReflectionInfo", "OK"] == 1
    assert not any("Nothing" in key for key in found)
    kinds = {
        (one.labels["grpc_service"], one.labels["grpc_type"])
        for metric in api.calls.collect()
        for one in metric.samples
    }
    assert {(OBSERVER, "unary"), (OBSERVER, "server_stream")} <= kinds
    assert ("grpc.reflection.v1alpha.ServerReflection", "bidi_stream") in kinds


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (grpc.StatusCode.OK, "OK"),
        (grpc.StatusCode.CANCELLED, "Canceled"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DeadlineExceeded"),
        (12, "Unimplemented"),
    ],
)
def test_codes_are_spelt_as_go_spells_them(code: grpc.StatusCode | int, name: str) -> None:
    assert code_name(code) == name
