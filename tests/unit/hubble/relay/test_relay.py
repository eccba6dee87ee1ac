"""A relay before several observers: dead ones, slow ones, and ones that lie about the time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.relay import relay_pb2
from cilia.hubble.relay import service
from cilia.hubble.relay.connection import Timing
from cilia.hubble.relay.flows import MergeSettings
from cilia.hubble.server.listener import HubbleSocket
from unit.hubble.made_servers import DEADLINE_S, add_flows, running
from unit.hubble.relay.made_relay import MERGING, PATIENT, Node, Relay, relay, sorted_out

UP, DOWN = relay_pb2.NODE_CONNECTED, relay_pb2.NODE_UNAVAILABLE
Talk = Callable[[Relay], Awaitable[None]]


def with_relay(
    folder: Path, nodes: list[Node], talk: Talk, merging: MergeSettings = PATIENT
) -> None:
    """Starts the nodes and a relay, and talks once it has connected them all."""

    async def run() -> None:
        for node in nodes:
            await node.start()
        async with asyncio.timeout(DEADLINE_S), relay(folder, *nodes, merging=merging) as made:
            await made.wait(lambda pool: len(pool.connected) == len(nodes))
            await talk(made)

    asyncio.run(run())


@pytest.fixture
def three(tmp_path: Path) -> list[Node]:
    """Flows at 0 to 59 ns, each node every third."""
    return [Node(tmp_path, f"node-{n}", *range(n - 1, 60, 3)) for n in (1, 2, 3)]


NAMES = ["node-1", "node-2", "node-3"]


def test_flows_of_all_nodes_come_by_time_and_as_they_were(
    tmp_path: Path, three: list[Node]
) -> None:
    async def talk(made: Relay) -> None:
        times, statuses = await made.flows()
        assert times == list(range(60))
        assert statuses == [(UP, NAMES)]
        request = observer_pb2.GetFlowsRequest(number=1)
        found = [one async for one in made.stub.GetFlows(request) if one.HasField("flow")]
        assert [one.node_name for one in found] == [f"default/{name}" for name in NAMES]
        assert {one.flow.source.pod_name for one in found} == {"xwing"}

    with_relay(tmp_path, three, talk)


def test_a_dead_node_is_named_and_the_others_are_told(tmp_path: Path, three: list[Node]) -> None:
    async def talk(made: Relay) -> None:
        await three[1].stop()
        await made.wait(lambda pool: len(pool.connected) == 2)
        times, statuses = await made.flows()
        assert times == [one for one in range(60) if one % 3 != 1]
        assert statuses == [(UP, ["node-1", "node-3"]), (DOWN, ["node-2"])]

    with_relay(tmp_path, three, talk)


def test_a_stream_goes_on_when_a_node_dies_and_takes_it_back(
    tmp_path: Path, three: list[Node]
) -> None:
    async def talk(made: Relay) -> None:
        call = made.stub.GetFlows(observer_pb2.GetFlowsRequest(follow=True))

        async def read(count: int) -> tuple[list[int], list[Any]]:
            return sorted_out([await call.read() for _ in range(count)])

        assert await read(1) == ([], [(UP, NAMES)])
        await three[2].stop()
        assert await read(1) == ([], [(DOWN, ["node-3"])])
        add_flows(three[0].store, 100)
        assert await read(1) == ([100], [])
        await three[2].start()
        assert await read(1) == ([], [(UP, ["node-3"])])
        await followers(three[2], 1)
        add_flows(three[2].store, 101)
        assert await read(1) == ([101], [])
        call.cancel()

    with_relay(tmp_path, three, talk, MERGING)


async def followers(node: Node, count: int) -> None:
    """Waits until so many clients follow a node."""
    while node.store.followers < count:
        await asyncio.sleep(0.001)


def test_nodes_come_and_go_while_a_client_follows(tmp_path: Path, three: list[Node]) -> None:
    first, second, third = three

    async def run() -> None:
        for node in three:
            await node.start()
        async with asyncio.timeout(DEADLINE_S), relay(tmp_path, first, second) as made:
            await made.wait(lambda pool: len(pool.connected) == 2)
            call = made.stub.GetFlows(observer_pb2.GetFlowsRequest(follow=True))

            async def status() -> Any:
                return sorted_out([await call.read()])[1]

            assert await status() == [(UP, NAMES[:2])]
            first.api.peers.replace([first.peer, second.peer, third.peer])
            assert await status() == [(UP, ["node-3"])]
            first.api.peers.replace([first.peer, third.peer])
            assert await status() == [(relay_pb2.NODE_GONE, ["node-2"])]
            assert sorted(made.pool.nodes) == ["node-1", "node-3"]
        await third.stop()

    asyncio.run(run())


def test_more_flows_than_may_wait_come_by_time_too(tmp_path: Path) -> None:
    many = Node(tmp_path, "node-1", capacity=2048)
    few = Node(tmp_path, "node-2", 5000)
    add_flows(many.store, *range(2000))

    async def talk(made: Relay) -> None:
        times, _ = await made.flows()
        assert times == [*range(2000), 5000]

    with_relay(tmp_path, [many, few], talk)


def test_what_a_node_refuses_is_told_once_for_all(tmp_path: Path, three: list[Node]) -> None:
    async def talk(made: Relay) -> None:
        wrong = [flow_pb2.FlowFilter(source_ip=["10.0.0.300"])]
        request = observer_pb2.GetFlowsRequest(whitelist=wrong)
        told = [one.node_status async for one in made.stub.GetFlows(request)][1:]
        assert {one.state_change for one in told} == {relay_pb2.NODE_ERROR}
        assert len(told) == 2
        assert sorted(name for one in told for name in one.node_names) == NAMES
        assert all("10.0.0.300" in one.message for one in told)

    with_relay(tmp_path, three, talk)


HOUR = 3_600 * 10**9


def test_a_clock_that_is_off_costs_order_and_nothing_else(
    tmp_path: Path, three: list[Node]
) -> None:
    """Every flow comes, and those of honest nodes in their order."""
    liar = Node(tmp_path, "node-9", *(HOUR + n for n in range(20)))

    async def talk(made: Relay) -> None:
        times, _ = await made.flows()
        assert times == [*range(60), *(HOUR + n for n in range(20))]

    with_relay(tmp_path, [*three, liar], talk)


def test_a_clock_that_is_off_stops_nobody_who_follows(tmp_path: Path, three: list[Node]) -> None:
    liar = Node(tmp_path, "node-9")

    async def talk(made: Relay) -> None:
        call = made.stub.GetFlows(observer_pb2.GetFlowsRequest(follow=True))
        await call.read()
        await followers(liar, 1)
        await followers(three[0], 1)
        for node, time in ((liar, HOUR), (three[0], 100), (liar, HOUR + 1)):
            add_flows(node.store, time)
            found, _ = sorted_out([await call.read()])
            assert found == [time]
        call.cancel()

    with_relay(tmp_path, [*three, liar], talk, MERGING)


def test_a_node_that_hangs_is_named_and_the_others_go_on(tmp_path: Path, three: list[Node]) -> None:
    """It takes connections and answers nothing, as a stopped process does."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()

    async def run() -> None:
        for node in three[:2]:
            await node.start()
        hung = await asyncio.start_unix_server(hang, str(three[2].path))
        timing = Timing(0.02, 0.1, dial_s=0.2, check_every_s=0.2, answer_s=0.2)
        async with (
            asyncio.timeout(DEADLINE_S),
            relay(tmp_path, *three, timing=timing) as made,
        ):
            await made.wait(lambda pool: len(pool.connected) == 2)
            times, statuses = await made.flows()
            assert times == [one for one in range(60) if one % 3 != 2]
            assert statuses == [(UP, NAMES[:2]), (DOWN, ["node-3"])]
        hung.close()

    asyncio.run(run())


async def talks_nonsense(path: Path) -> grpc.aio.Server:
    """A server that is asked how it is and answers, and sends flows that are none."""

    async def nonsense(request: bytes, context: Any) -> Any:
        for content in (b"", b"\xff" * 40):
            yield content

    async def status(request: bytes, context: Any) -> bytes:
        return b""

    server = grpc.aio.server()
    handlers = {
        "GetFlows": grpc.unary_stream_rpc_method_handler(nonsense),
        "ServerStatus": grpc.unary_unary_rpc_method_handler(status),
    }
    generic = grpc.method_handlers_generic_handler("observer.Observer", handlers)
    server.add_generic_rpc_handlers((generic,))
    server.add_insecure_port(f"unix://{path}")
    await server.start()
    return server


def test_a_node_that_talks_nonsense_is_named_and_the_others_are_told(
    tmp_path: Path, three: list[Node]
) -> None:
    async def run() -> None:
        for node in three[:2]:
            await node.start()
        server = await talks_nonsense(three[2].path)
        async with asyncio.timeout(DEADLINE_S), relay(tmp_path, *three) as made:
            await made.wait(lambda pool: len(pool.connected) == 3)
            call = made.stub.GetFlows(observer_pb2.GetFlowsRequest())
            times, statuses = sorted_out([one async for one in call])
            assert times == [one for one in range(60) if one % 3 != 2]
            assert statuses == [(UP, NAMES), (relay_pb2.NODE_ERROR, ["node-3"])]
            found = await made.stub.GetNamespaces(observer_pb2.GetNamespacesRequest())
            assert list(found.namespaces) == []
        await server.stop(0)

    asyncio.run(run())


def test_status_nodes_and_namespaces_are_of_all(tmp_path: Path, three: list[Node]) -> None:
    async def talk(made: Relay) -> None:
        await three[2].stop()
        await made.wait(lambda pool: len(pool.connected) == 2)
        status = await made.stub.ServerStatus(observer_pb2.ServerStatusRequest())
        assert (status.num_flows, status.max_flows, status.seen_flows) == (40, 128, 40)
        assert (status.num_connected_nodes.value, status.num_unavailable_nodes.value) == (2, 1)
        assert list(status.unavailable_nodes) == ["node-3"]
        assert status.version == "hubble-relay v0.1.0"
        nodes = (await made.stub.GetNodes(observer_pb2.GetNodesRequest())).nodes
        assert [(one.name, one.state) for one in nodes] == list(
            zip(NAMES, (UP, UP, DOWN), strict=True)
        )
        assert [one.num_flows for one in nodes] == [20, 20, 0]
        assert nodes[0].version == "cilia v0.1.0"
        found = await made.stub.GetNamespaces(observer_pb2.GetNamespacesRequest())
        assert list(found.namespaces) == []  # the flows are of 1970

    with_relay(tmp_path, three, talk)


async def read_on(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


def test_watches_of_health_leave_room_for_probes(
    tmp_path: Path, three: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server for probes ends connections, and takes few calls on each."""
    options = dict(service.BRIEF)
    assert (
        options["grpc.max_connection_age_ms"] + options["grpc.max_connection_age_grace_ms"] < 60_000
    )
    quick = options | {"grpc.max_connection_age_ms": 50, "grpc.max_connection_age_grace_ms": 50}
    monkeypatch.setattr(service, "BRIEF", tuple(quick.items()))
    path = tmp_path / "health.sock"
    address, asked = f"unix://{path}", health_pb2.HealthCheckRequest()

    async def talk(made: Relay) -> None:
        async with (
            running(HubbleSocket(path, made.api.health_server)),
            grpc.aio.insecure_channel(address) as channel,
        ):
            watch = health_pb2_grpc.HealthStub(channel).Watch(asked)
            assert await watch.read()
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await read_on(watch)
            assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
            assert await health_pb2_grpc.HealthStub(channel).Check(asked, wait_for_ready=True)

    with_relay(tmp_path, three, talk)


def test_a_connection_for_probes_takes_few_calls(tmp_path: Path, three: list[Node]) -> None:
    path, asked = tmp_path / "health.sock", health_pb2.HealthCheckRequest()
    own = (("grpc.use_local_subchannel_pool", 1),)
    most = dict(service.BRIEF)["grpc.max_concurrent_streams"]

    async def talk(made: Relay) -> None:
        async with (
            running(HubbleSocket(path, made.api.health_server)),
            grpc.aio.insecure_channel(f"unix://{path}", own) as greedy,
            grpc.aio.insecure_channel(f"unix://{path}", own) as probe,
        ):
            watches = [health_pb2_grpc.HealthStub(greedy).Watch(asked) for _ in range(most)]
            for one in watches:
                assert await one.read()
            with pytest.raises(grpc.aio.AioRpcError) as waited:
                await health_pb2_grpc.HealthStub(greedy).Check(asked, timeout=0.1)
            assert waited.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert await health_pb2_grpc.HealthStub(probe).Check(asked)
            for one in watches:
                one.cancel()

    with_relay(tmp_path, three, talk)


def test_health_follows_the_nodes(tmp_path: Path, three: list[Node]) -> None:
    async def talk(made: Relay) -> None:
        stub = health_pb2_grpc.HealthStub(made.channel)
        name = "hubble.server.Observer"
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=name))
        while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        for node in three:
            await node.stop()
        while (await watch.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass
        watch.cancel()

    with_relay(tmp_path, three, talk)


def test_events_of_agents_are_asked_of_their_nodes(tmp_path: Path, three: list[Node]) -> None:
    async def talk(made: Relay) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await made.stub.GetAgentEvents(observer_pb2.GetAgentEventsRequest()).read()
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
        header = dict(
            await made.stub.GetFlows(observer_pb2.GetFlowsRequest()).initial_metadata() or ()
        )
        assert header["hubble-relay-version"] == "0.1.0"

    with_relay(tmp_path, three, talk)


def test_bytes_that_are_no_request_are_refused_and_readers_are_counted(
    tmp_path: Path, three: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_READERS", 1)

    async def code_of(made: Relay, content: bytes) -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await made.channel.unary_stream("/observer.Observer/GetFlows")(content).read()
        return error.value.code()

    async def talk(made: Relay) -> None:
        assert await code_of(made, b"\xff" * 9) == grpc.StatusCode.INVALID_ARGUMENT
        call = made.stub.GetFlows(observer_pb2.GetFlowsRequest(follow=True))
        await call.read()
        assert await code_of(made, b"") == grpc.StatusCode.RESOURCE_EXHAUSTED
        call.cancel()
        while await code_of(made, b"\xff" * 9) == grpc.StatusCode.RESOURCE_EXHAUSTED:
            pass
        assert (await made.flows())[0] == list(range(60))

    with_relay(tmp_path, three, talk)
