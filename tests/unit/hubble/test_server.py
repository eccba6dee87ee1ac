"""The API as a client sees it, over a unix socket."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cilia.hubble.peers import Peer
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.proto.peer import peer_pb2
from cilia.hubble.proto.peer.peer_pb2_grpc import PeerStub
from cilia.hubble.server.listener import HubbleApi, HubbleSocket
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import RECORD, KnownNames, records

DEADLINE_S = 60
Talk = Callable[[grpc.aio.Channel], Awaitable[None]]


def serving(folder: Path, store: FlowStore, talk: Talk) -> None:
    """Serves `store` while a client talks."""

    async def run() -> None:
        path = folder / "hubble.sock"
        own = Peer("node-1", f"unix://{path}")
        api = HubbleApi(store, KnownNames(), "default/node-1", "0.1.0", own)
        socket = HubbleSocket(path, api.server)
        ready = asyncio.Event()
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            server = group.create_task(socket.run(ready))
            await ready.wait()
            async with grpc.aio.insecure_channel(f"unix://{path}") as channel:
                await talk(channel)
            server.cancel()
        assert not path.exists()

    asyncio.run(run())


@pytest.fixture
def store() -> FlowStore:
    store = FlowStore(RECORD, 64)
    now = time.time_ns()
    store.add(records(60, time=np.arange(60)), now)
    store.parties.join(KnownNames())
    store.show(store.total)
    return store


def test_flows_status_nodes_and_namespaces(tmp_path: Path, store: FlowStore) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        stub = ObserverStub(channel)
        call = stub.GetFlows(observer_pb2.GetFlowsRequest(number=3))
        flows = [response.flow async for response in call]
        assert [flow.source.pod_name for flow in flows] == ["xwing"] * 3
        status = await stub.ServerStatus(observer_pb2.ServerStatusRequest())
        assert (status.num_flows, status.max_flows, status.seen_flows) == (60, 64, 60)
        assert status.version == "cilia v0.1.0"
        assert status.flows_rate == pytest.approx(1.0)
        assert not status.HasField("num_connected_nodes")
        nodes = await stub.GetNodes(observer_pb2.GetNodesRequest())
        assert [node.name for node in nodes.nodes] == ["default/node-1"]
        found = await stub.GetNamespaces(observer_pb2.GetNamespacesRequest())
        assert [(one.cluster, one.namespace) for one in found.namespaces] == [
            ("default", "default")
        ]

    serving(tmp_path, store, talk)


def test_errors_say_what_is_wrong(tmp_path: Path, store: FlowStore) -> None:
    async def code_of(channel: grpc.aio.Channel, **fields: object) -> tuple[object, str]:
        request = observer_pb2.GetFlowsRequest(**fields)  # type: ignore[arg-type]  # fields by name
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in ObserverStub(channel).GetFlows(request):
                pass
        return error.value.code(), error.value.details() or ""

    async def talk(channel: grpc.aio.Channel) -> None:
        code, why = await code_of(channel, first=True, follow=True)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        wrong = [flow_pb2.FlowFilter(source_ip=["10.0.0.300"])]
        code, why = await code_of(channel, whitelist=wrong)
        assert code == grpc.StatusCode.UNKNOWN
        assert "10.0.0.300" in why
        ones = "[" + ",".join("1" for _ in range(200)) + "]"
        dear = flow_pb2.FlowFilter()
        dear.experimental.cel_expression.append(f"{ones}.all(a, {ones}.all(b, a + b > 0))")
        code, why = await code_of(channel, whitelist=[dear])
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "Iteration budget" in why
        wanted = flow_pb2.FlowFilter()
        wanted.experimental.cel_expression.append("_flow.source.pod_name == 'xwing'")
        request = observer_pb2.GetFlowsRequest(whitelist=[wanted], number=2)
        assert [one async for one in ObserverStub(channel).GetFlows(request)]
        both = observer_pb2.GetAgentEventsRequest(first=True, follow=True)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await ObserverStub(channel).GetAgentEvents(both).read()
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    serving(tmp_path, store, talk)


def test_health_reflection_and_peers(tmp_path: Path, store: FlowStore) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "hubble.server.Observer"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        async for listed in stub.ServerReflectionInfo(iter([asked])):
            names = {one.name for one in listed.list_services_response.service}
            assert {"observer.Observer", "peer.Peer", "grpc.health.v1.Health"} <= names
        async for peer in PeerStub(channel).Notify(peer_pb2.NotifyRequest()):
            assert (peer.name, peer.type) == ("node-1", peer_pb2.PEER_ADDED)
            break

    serving(tmp_path, store, talk)
