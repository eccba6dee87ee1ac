"""Real traffic through every program: pods, node and world in namespaces."""

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from bpf.harness import C
from bpf.live import Live

BULK = 4_000_000
MULTICAST_V6 = 0xFF
IP_RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
HOPS = {
    4: (socket.IPPROTO_IP, socket.IP_TTL),
    6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Namespaces and attached programs, for all tests of this file; they lose no packet."""
    made = Live()
    try:
        yield made
        drops = [event for event in made.datapath.events() if event["type"] == C["EVENT_DROP"]]
        assert not [drop for drop in drops if drop["destination"][0] != MULTICAST_V6]
    finally:
        made.close()


def tell_peer(client: socket.socket) -> None:
    """Answers with the client's address, as the server sees it."""
    client.sendall(f"{client.getpeername()[0]} {client.getpeername()[1]}".encode())


def read_all(one: socket.socket) -> bytes:
    """Everything until the other side closes."""
    return b"".join(iter(lambda: one.recv(1 << 16), b""))


def seen_peer(live: Live, place: str, version: int, to: str, port: int, own: int = 0) -> list[str]:
    """Address and port under which a server sees a client."""
    with live.open(place, version, socket.SOCK_STREAM, own) as client:
        client.connect((live.address(to, version), port))
        return read_all(client).decode().split()


def test_the_world_sees_the_node(live: Live, version: int) -> None:
    with live.serve("world", version, 80, tell_peer):
        assert seen_peer(live, "a", version, "world", 80)[0] == live.address("node", version)


def test_one_port_of_two_pods_and_the_node_is_three_ports_outside(live: Live, version: int) -> None:
    with live.serve("world", version, 81, tell_peer):
        seen = [seen_peer(live, place, version, "world", 81, 40000) for place in ("a", "b", "node")]
    assert {address for address, _ in seen} == {live.address("node", version)}
    assert len({port for _, port in seen}) == 3
    assert seen[0][1] == "40000"


@pytest.mark.parametrize("to", ["world", "far"])
def test_bulk_goes_both_ways(live: Live, version: int, to: str) -> None:
    def echo(client: socket.socket) -> None:
        received = 0
        while received < BULK:
            received += len(client.recv(1 << 16))
        client.sendall(b"y" * BULK)

    with (
        live.serve(to, version, 82, echo),
        live.open("a", version, socket.SOCK_STREAM) as client,
    ):
        client.connect((live.address(to, version), 82))
        client.sendall(b"x" * BULK)
        assert len(read_all(client)) == BULK


@pytest.mark.parametrize("size", [10, 1400, 5000])
def test_datagrams_of_any_size_go_and_come(live: Live, version: int, size: int) -> None:
    with (
        live.open("world", version, socket.SOCK_DGRAM) as server,
        live.open("a", version, socket.SOCK_DGRAM) as client,
    ):
        server.bind((live.address("world", version), 5353))
        client.connect((live.address("world", version), 5353))
        client.send(b"q" * size)
        question, peer = server.recvfrom(1 << 16)
        assert (len(question), peer[0]) == (size, live.address("node", version))
        server.sendto(b"a" * size, peer)
        assert len(client.recv(1 << 16)) == size


@pytest.mark.parametrize("size", [56, 3000])
@pytest.mark.parametrize("to", ["world", "far", "node", "router", "b"])
def test_ping(live: Live, version: int, to: str, size: int) -> None:
    ping = ["ping", "-c", "1", "-W", "5", "-s", str(size), live.address(to, version)]
    done = live.run("a", *ping)
    if "Packet too big" in done.stdout:
        done = live.run("a", *ping)
    assert "1 received" in done.stdout, done.stdout


def test_the_node_pings_a_pod_and_the_world(live: Live, version: int) -> None:
    for to in ("a", "world"):
        done = live.run("node", "ping", "-c", "1", "-W", "5", live.address(to, version))
        assert "1 received" in done.stdout, done.stdout


def test_the_node_reaches_a_pod(live: Live, version: int) -> None:
    with live.serve("a", version, 8080, tell_peer):
        seen = seen_peer(live, "node", version, "a", 8080)
    assert seen[0] == live.address("router", version)


def test_a_pod_reaches_the_node(live: Live, version: int) -> None:
    with live.serve("node", version, 8081, tell_peer):
        for to in ("node", "router"):
            assert seen_peer(live, "a", version, to, 8081)[0] == live.address("a", version)


def test_the_world_reaches_a_pod_by_its_address(live: Live, version: int) -> None:
    with live.serve("a", version, 8082, tell_peer):
        seen = seen_peer(live, "world", version, "a", 8082)
    assert seen[0] in ("172.30.0.1", "fd00:30::1")


def refused_by(live: Live, version: int, to: str, hops: int | None = None) -> tuple[int, str]:
    """Sends a datagram to a port where nobody is: the error's number, and who sent it."""
    level, option = IP_RECVERR[version]
    with live.open("a", version, socket.SOCK_DGRAM) as client:
        client.setsockopt(level, option, 1)
        if hops is not None:
            client.setsockopt(*HOPS[version], hops)
        client.connect((live.address(to, version), 33434))
        client.send(b"anybody there?")
        with pytest.raises(OSError) as caught:
            client.recv(100)
        _, ancillary, _, _ = client.recvmsg(100, 512, socket.MSG_ERRQUEUE)
        ((_, _, data),) = ancillary
        sender = data[16 + 4 : 16 + 8] if version == 4 else data[16 + 8 : 16 + 24]
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        assert struct.unpack_from("=I", data)[0] == caught.value.errno
        return caught.value.errno or 0, socket.inet_ntop(family, sender)


def test_a_closed_port_outside_is_told_to_the_pod(live: Live, version: int) -> None:
    assert refused_by(live, version, "world") == (
        errno.ECONNREFUSED,
        live.address("world", version),
    )


def test_a_traceroute_sees_every_hop(live: Live, version: int) -> None:
    first, second = (refused_by(live, version, "far", hops) for hops in (1, 2))
    last = refused_by(live, version, "far", 3)
    assert first == (errno.EHOSTUNREACH, live.address("router", version))
    assert second == (errno.EHOSTUNREACH, {4: "172.30.0.1", 6: "fd00:30::1"}[version])
    assert last == (errno.ECONNREFUSED, live.address("far", version))
