"""A relay before nodes that lie about who they are, and peers that name what is not theirs."""

import asyncio
from pathlib import Path

import pytest

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.peer import peer_pb2
from cilia.hubble.proto.relay import relay_pb2
from cilia.hubble.relay.connection import Dialler
from cilia.hubble.relay.flows import IMPOSTOR, speaks_for_itself
from cilia.hubble.relay.pool import NodePool, PeerSource
from unit.hubble.made_servers import DEADLINE_S
from unit.hubble.relay.made_relay import QUICK, Node, relay

Response = observer_pb2.GetFlowsResponse


def said(node: str = "", flow: str = "") -> Response:
    return Response(node_name=node, flow=flow_pb2.Flow(node_name=flow))


@pytest.mark.parametrize(
    ("peer", "answer", "is_fine"),
    [
        ("a", said("default/a", "default/a"), True),
        ("a", said("a", "a"), True),
        ("default/a", said("a", "default/a"), True),
        ("far/a", said("far/a", "far/a"), True),
        ("a", said(), True),
        ("a", Response(lost_events=flow_pb2.LostEvent(), node_name="default/a"), True),
        ("a", said("default/b", "default/a"), False),
        ("a", said("default/a", "default/b"), False),
        ("a", said("default/a", "far/a"), False),
        ("far/a", said("default/a", "default/a"), False),
        ("far/a", said("a", "a"), False),
        ("a", Response(lost_events=flow_pb2.LostEvent(), node_name="b"), False),
        ("a", Response(node_status=relay_pb2.NodeStatusEvent(), node_name="default/a"), False),
    ],
)
def test_a_node_may_speak_for_itself(peer: str, answer: Response, is_fine: bool) -> None:
    assert speaks_for_itself(peer, answer) == is_fine


def test_what_a_node_says_in_anothers_name_is_left_out_and_it_is_named(tmp_path: Path) -> None:
    honest, liar = Node(tmp_path, "node-1", 1, 3), Node(tmp_path, "node-2", 2, 4, 6)
    liar.name = "node-3"  # the peers call it so; it says node-2

    async def run() -> None:
        await honest.start()
        await liar.start()
        async with asyncio.timeout(DEADLINE_S), relay(tmp_path, honest, liar) as made:
            await made.wait(lambda pool: len(pool.connected) == 2)
            answers = [one async for one in made.stub.GetFlows(observer_pb2.GetFlowsRequest())]
        flows = [one for one in answers if one.HasField("flow")]
        assert [one.time.ToNanoseconds() for one in flows] == [1, 3]
        told = [one.node_status for one in answers if one.HasField("node_status")]
        errors = [one for one in told if one.state_change == relay_pb2.NODE_ERROR]
        assert [(list(one.node_names), one.message) for one in errors] == [(["node-3"], IMPOSTOR)]

    asyncio.run(run())


PATH = "unix:///run/other.sock"


@pytest.mark.parametrize(
    ("source", "address", "is_taken"),
    [
        ("unix:///run/hubble.sock", PATH, True),
        ("hubble-peer:4244", "10.0.0.1:4244", True),
        ("hubble-peer:4244", PATH, False),
        ("hubble-peer:4244", "UNIX:/run/other.sock", False),
        ("hubble-peer:4244", "unix-abstract:other", False),
    ],
)
def test_only_a_peer_service_of_this_machine_names_its_sockets(
    source: str, address: str, is_taken: bool
) -> None:
    async def run() -> None:
        pool = NodePool(PeerSource(source), Dialler(None), QUICK)
        async with pool._group:
            for kind in (peer_pb2.PEER_ADDED, peer_pb2.PEER_UPDATED):
                pool.apply(peer_pb2.ChangeNotification(name="a", address=address, type=kind))
                assert set(pool.nodes) == ({"a"} if is_taken else set())
            pool._drop("a")

    asyncio.run(run())
