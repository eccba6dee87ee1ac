"""A relay with mTLS on both sides, and a client of it that never reads."""

import asyncio
from pathlib import Path

import grpc
import msgspec
import pytest

from cilia.hubble.peers import Peer
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.relay.connection import Dialler, State
from cilia.hubble.relay.pool import NodePool, PeerSource
from cilia.hubble.relay.service import RelayApi
from cilia.hubble.server.listener import HubblePort, HubbleSocket
from cilia.hubble.tls import TlsFiles, channel_credentials, dial_options, node_server_name
from unit.hubble.made_servers import (
    DEADLINE_S,
    add_flows,
    api_of,
    certificates,
    running,
    store_of,
)
from unit.hubble.relay.made_relay import MERGING, QUICK, Node, relay

RELAY_NAME = "ui.hubble-relay.cilium.io"


async def opened(port: HubblePort) -> int:
    """Its number, once it is open."""
    while not port.port:
        await asyncio.sleep(0.001)
    return port.port


async def count_flows(port: int, files: TlsFiles) -> int:
    credentials = channel_credentials(files)
    where, options = f"127.0.0.1:{port}", dial_options(RELAY_NAME)
    async with grpc.aio.secure_channel(where, credentials, options) as channel:
        call = ObserverStub(channel).GetFlows(observer_pb2.GetFlowsRequest())
        return len([one async for one in call if one.HasField("flow")])


def test_relay_and_nodes_know_each_other_by_certificate(tmp_path: Path) -> None:
    """A node that shows another's certificate gets nothing, and is named."""
    folder = tmp_path / "tls"
    names = [node_server_name(f"node-{n}", "") for n in (1, 2)]
    own = certificates(folder, "relay", [RELAY_NAME])
    shown = certificates(folder, "node-1", names[:1])  # both nodes show it

    async def run() -> None:
        apis = [api_of(store_of(n, n + 2), tmp_path / "h.sock", f"node-{n}") for n in (1, 2)]
        ports = [HubblePort("127.0.0.1:0", shown, api.server) for api in apis]
        pool = NodePool(PeerSource(f"unix://{tmp_path}/h.sock"), Dialler(own), QUICK)
        api = RelayApi(pool, MERGING, "0.1.0", "default/relay")
        front = HubblePort("127.0.0.1:0", own, api.server)
        source = HubbleSocket(tmp_path / "h.sock", apis[0].server)
        async with asyncio.timeout(DEADLINE_S), running(*ports, source, pool, front):
            numbers = [await opened(port) for port in ports]
            apis[0].peers.replace(
                Peer(f"node-{n}", f"127.0.0.1:{number}", name)
                for n, (number, name) in enumerate(zip(numbers, names, strict=True), 1)
            )
            while [one.state for one in pool.nodes.values()] != [
                State.CONNECTED,
                State.UNAVAILABLE,
            ] or pool.nodes["node-1"].peer.address.startswith("unix"):
                await pool.moved.wait()
            assert await count_flows(await opened(front), own) == 2
            nobody = msgspec.structs.replace(own, certificate="", key="")
            with pytest.raises(grpc.aio.AioRpcError):
                await count_flows(front.port, nobody)

    asyncio.run(run())


def test_a_client_that_never_reads_slows_no_other(tmp_path: Path) -> None:
    nodes = [Node(tmp_path, f"node-{n}") for n in (1, 2)]

    async def run() -> None:
        for node in nodes:
            await node.start()
        async with asyncio.timeout(DEADLINE_S), relay(tmp_path, *nodes, merging=MERGING) as made:
            await made.wait(lambda pool: len(pool.connected) == 2)
            follow = observer_pb2.GetFlowsRequest(follow=True)
            options = [("grpc.http2.bdp_probe", 0)]
            path = f"unix://{tmp_path}/relay.sock"
            async with grpc.aio.insecure_channel(path, options) as other:
                stuck = [ObserverStub(other).GetFlows(follow) for _ in range(3)]
                call = made.stub.GetFlows(follow)
                while nodes[0].store.followers < 4 or nodes[1].store.followers < 4:
                    await asyncio.sleep(0.001)
                got = []
                for begin in range(0, 400, 40):
                    for at, node in enumerate(nodes):
                        add_flows(node.store, *range(begin + at, begin + 40, 2))
                    while len(got) < begin + 40:
                        answer = await call.read()
                        if answer.HasField("flow"):
                            got.append(answer.flow.time.nanos)
                assert sorted(got) == list(range(400))
                for one in (*stuck, call):
                    one.cancel()

    asyncio.run(run())
