"""Real packets between real namespaces, through the programs on real devices."""

import socket
from collections.abc import Iterator

import pytest

from bpf.harness import NODE, ROUTER, C, Datapath
from bpf.live import Live

AMOUNT = 200_000


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Namespaces with every program attached."""
    made = Live()
    yield made
    made.close()


@pytest.fixture
def node(live: Live) -> Datapath:
    """The datapath with two pods that enforce nothing, and nothing remembered."""
    datapath = live.datapath
    for name in ("conntrack", "policy", "policy_class", "fragment"):
        datapath.maps[name].clear()
    for pod in ("a", "b"):
        datapath.enforce(pod, generation=1)
    datapath.events()
    return datapath


def drops(node: Datapath) -> list[int]:
    """Reasons of all drops so far, but for the pods' talk to their own link."""
    found = [event["subtype"] for event in node.events() if event["type"] == C["EVENT_DROP"]]
    return [reason for reason in found if reason != C["DROP_FORBIDDEN_ICMPV6_MESSAGE"]]


@pytest.mark.parametrize(
    ("source", "place", "target"),
    [
        ("a", "b", "b"),
        ("a", "node", "router"),
        ("a", "node", "node"),
        ("node", "a", "a"),
        ("a", "world", "world"),
        ("world", "a", "a"),
    ],
)
def test_tcp_flows(
    live: Live, node: Datapath, version: int, source: str, place: str, target: str
) -> None:
    came_back = exchange(live, version, source, (place, node.address(target, version)))

    assert came_back == 100_000
    assert drops(node) == []
    (connection,) = node.connections()
    assert connection["flags"] & C["CONNTRACK_SEEN_REPLY"]
    assert min(connection["bytes"]) > 100_000


@pytest.mark.parametrize("target", ["b", "world", "node"])
@pytest.mark.parametrize("size", [100, 5000], ids=["one", "fragments"])
def test_datagrams_flow(live: Live, node: Datapath, version: int, target: str, size: int) -> None:
    with (
        live.open(target, version, socket.SOCK_DGRAM) as server,
        live.open("a", version, socket.SOCK_DGRAM) as client,
    ):
        server.bind((node.address(target, version), 0))
        client.connect((node.address(target, version), server.getsockname()[1]))
        received, back = _sent_until_heard(client, server, size)
        assert len(received) == size
        seen = "node" if target == "world" else "a"
        assert back[0] == node.address(seen, version)
        server.sendto(received, back)
        assert len(client.recv(10_000)) == size


def test_a_refused_port_is_told_by_a_related_error(
    live: Live, node: Datapath, version: int
) -> None:
    for pod in ("a", "b"):
        node.classify(getattr(node, pod).identity, 7)
    closed = node.enforce("a", "INGRESS_ENFORCED")
    node.rule(closed, "INGRESS", "DEFAULT_DENY")
    with live.open("a", version, socket.SOCK_DGRAM) as client:
        client.connect((node.address("b", version), 9))
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(10)


@pytest.mark.parametrize("target", ["b", "world", "node"])
def test_policy_stops_an_open_connection(
    live: Live, node: Datapath, version: int, target: str
) -> None:
    with (
        live.open(target, version, socket.SOCK_DGRAM) as server,
        live.open("a", version, socket.SOCK_DGRAM) as client,
    ):
        server.bind((node.address(target, version), 0))
        client.connect((node.address(target, version), server.getsockname()[1]))
        client.send(b"before")
        assert server.recv(10) == b"before"
        closed = node.enforce("a", "EGRESS_ENFORCED", generation=2)
        for identity in (1, 9, 10, node.b.identity):
            node.classify(identity, 7)
        node.rule(closed, "EGRESS", "DEFAULT_DENY")

        client.send(b"after")

        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.recv(10)
    assert drops(node) == [C["DROP_POLICY_DENIED"]]
    assert node.connections() == []


def test_an_unreachable_network_is_told_to_the_pod(
    live: Live, node: Datapath, version: int
) -> None:
    nowhere = {4: "172.30.0.77", 6: "fd00:30::77"}[version]
    with live.open("a", version, socket.SOCK_DGRAM) as client:
        client.connect((nowhere, 9))
        client.settimeout(0.1)
        client.send(b"x")
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert drops(node) == []


@pytest.mark.parametrize("target", [ROUTER, NODE], ids=["router", "node"])
def test_a_pod_that_is_not_ready_is_silent_and_deaf(
    live: Live, node: Datapath, version: int, target: dict[int, str]
) -> None:
    node.write(node.a.with_flags(0))
    with (
        live.open("node", version, socket.SOCK_DGRAM) as server,
        live.open("a", version, socket.SOCK_DGRAM) as client,
    ):
        server.bind((target[version], 0))
        server.settimeout(0.2)
        client.bind((node.address("a", version), 0))
        client.settimeout(0.2)
        client.sendto(b"x", (target[version], server.getsockname()[1]))
        with pytest.raises(TimeoutError):
            server.recv(1)
        server.sendto(b"x", (node.address("a", version), client.getsockname()[1]))
        with pytest.raises(TimeoutError):
            client.recv(1)


def _sent_until_heard(
    client: socket.socket, server: socket.socket, size: int
) -> tuple[bytes, tuple[str, int]]:
    """The first datagram to a network with a smaller MTU only teaches the pod that MTU."""
    server.settimeout(0.3)
    for _ in range(5):
        try:
            client.send(bytes(size))
            return server.recvfrom(10_000)
        except OSError:  # nothing came, or the socket tells of the smaller MTU
            continue
    raise TimeoutError(f"{size} bytes never came")


def exchange(live: Live, version: int, source: str, target: tuple[str, str]) -> int:
    """Sends bytes over a new TCP connection and half of them back; how many came back."""
    place, address = target
    with (
        live.open(place, version, socket.SOCK_STREAM) as server,
        live.open(source, version, socket.SOCK_STREAM) as client,
    ):
        server.bind(("" if version == 4 else "::", 0))
        server.listen()
        client.connect((address, server.getsockname()[1]))
        served, _ = server.accept()
        with served:
            served.settimeout(10)
            _pump(client, served, AMOUNT)
            return _pump(served, client, AMOUNT // 2)


def _pump(sender: socket.socket, receiver: socket.socket, amount: int) -> int:
    """Moves `amount` bytes through a connection in one thread."""
    sent = received = 0
    while received < amount:
        if sent < amount:
            sent += sender.send(bytes(min(8192, amount - sent)))
        received += len(receiver.recv(1 << 20))
    return received
