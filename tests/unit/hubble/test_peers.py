"""Peer.Notify: what changes, and how nodes become peers."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cilia.hubble.peers import Peer, Peers, changes
from cilia.hubble.proto.peer import peer_pb2
from cilia.observer.network import PeerForm, own_peer, peer_form, tls_files
from cilia.observer.settings import ObserverSettings

rows = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y"]))


def peers_of(addresses: dict[str, str]) -> dict[str, Peer]:
    return {name: Peer(name, address) for name, address in addresses.items()}


@given(rows, rows)
def test_the_changes_turn_one_state_into_the_other(
    before: dict[str, str], after: dict[str, str]
) -> None:
    state = dict(before)
    for change in changes(peers_of(before), peers_of(after)):
        if change.type == peer_pb2.PEER_DELETED:
            del state[change.name]
        else:
            assert (change.name in state) == (change.type == peer_pb2.PEER_UPDATED)
            assert state.get(change.name) != change.address
            state[change.name] = change.address
    assert state == after


def test_readers_wait_for_another_state_and_this_node_stays() -> None:
    async def run() -> None:
        own = Peer("a", "unix:///h.sock")
        peers = Peers(own)
        waiting = asyncio.create_task(peers.wait_other(peers.now))
        await asyncio.sleep(0)
        peers.replace([])
        await asyncio.sleep(0)
        assert not waiting.done()
        peers.replace([Peer("b", "10.0.0.2:4244")])
        await waiting
        assert sorted(peers.now) == ["a", "b"]
        assert peers.own == own

    asyncio.run(run())


def test_a_node_with_a_port_is_not_named_by_its_socket() -> None:
    own = Peer("a", "unix:///h.sock")
    peers = Peers(own)
    peers.withhold_own()
    assert peers.now == {}
    assert peers.own == own
    peers.replace([Peer("b", "10.0.0.2:4244")])
    assert sorted(peers.now) == ["b"]
    peers.replace([Peer("a", "10.0.0.1:4244")])
    assert peers.own.address == "10.0.0.1:4244"


def element(name: str, **addresses: str) -> dict[str, Any]:
    return {"name": name, "primary-address": {k: {"ip": ip} for k, ip in addresses.items()}}


def test_nodes_become_peers_by_their_preferred_address() -> None:
    both = element("east/n.1", ipv4="10.0.0.1", ipv6="fd00::1")
    plain = PeerForm("default", tls=False).of_node({**both, "name": "default/n.1"})
    assert plain == Peer("n.1", "10.0.0.1:4244")
    six = PeerForm("east", port=5, prefer_ipv6=True).of_node(both)
    assert six == Peer("east/n.1", "[fd00::1]:5", "n-1.east.hubble-grpc.cilium.io")
    assert PeerForm("default").of_node(element("default/new")) is None


def test_peers_are_taken_to_be_set_up_as_this_node_is(tmp_path: Any) -> None:
    settings = ObserverSettings(
        node_name="n",
        hubble_listen_address=":5",
        hubble_tls_cert_file="/c",
        hubble_tls_key_file="/k",
    )
    assert peer_form(settings) == PeerForm("default", 5)
    assert own_peer(settings, tmp_path / "h.sock") == Peer("n", f"unix://{tmp_path}/h.sock")
    files = tls_files(settings)
    assert files is not None
    assert files.certificate == "/c"
    assert tls_files(ObserverSettings(hubble_disable_tls=True)) is None
