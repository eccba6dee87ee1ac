"""Policy without a gap: pods that send before they exist for us, and connections it stops."""

import json
import socket
from collections.abc import Iterator

import pytest

from cilia.kernel import netns
from lab.bare_lab import BareLab, bare_lab
from lab.numbered import Blaster, Watcher, running, to_port
from lab.running_lab import wait_for
from lab.traffic import Pod

PODS = 20
PORT = 7778
LOCKED_IN = {
    "endpointSelector": {"matchLabels": {"kind": "newcomer"}},
    "egress": [{"toEndpoints": [{"matchLabels": {"app": "nobody"}}]}],
    "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "nobody"}}]}],
}
NOBODY_IN = {
    "endpointSelector": {"matchLabels": {"app": "server"}},
    "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "nobody"}}]}],
}


@pytest.fixture(scope="module")
def own(kubectl: str) -> Iterator[BareLab]:
    """A lab of this module's own."""
    with bare_lab("c", kubectl) as lab:
        yield lab


@pytest.fixture(scope="module")
def server(own: BareLab) -> Pod:
    return own.connect("server", {"app": "server"})


@pytest.fixture(scope="module")
def client(own: BareLab) -> Pod:
    return own.connect("client", {"app": "client"})


def free_addresses(own: BareLab, count: int) -> list[tuple[str, str]]:
    """The addresses that the next pods may get."""
    held = own.ask("GET", "/v1/healthz")[1]["ipam"]["allocations"]
    pairs = [(f"10.0.1.{last}", f"fd00:10:0:1::{last:x}") for last in range(2, 250)]
    return [pair for pair in pairs if pair[0] not in held][:count]


def test_a_pod_that_sends_before_it_is_connected_gets_nothing_out_or_in(
    own: BareLab, server: Pod, client: Pod
) -> None:
    own.apply("locked-in", LOCKED_IN)
    wait_for("the policy is valid", lambda: own.condition("locked-in").get("status") == "True")
    newcomers = [(f"newcomer-{index}", *own.namespace()) for index in range(PODS)]
    for name, _, _ in newcomers:
        own.create_pod(name, {"kind": "newcomer", "app": name})
    places = [str(path) for _, _, path in newcomers]
    outwards = Blaster(
        [(place, to) for place in places for to in (server.v4, server.v6)], PORT, pause_s=0.0
    )
    # Whoever gets an address next finds somebody sending to it already.
    expected = free_addresses(own, PODS + 5)
    inwards = Blaster([(client.netns, to) for pair in expected for to in pair], PORT, pause_s=0.0)
    watchers = [Watcher(place, to_port(PORT)) for place in (server.netns, *places)]
    with running(outwards.blast, inwards.blast, *(one.watch for one in watchers)):
        for name, container, path in newcomers:
            pod = own.add(name, container, path)
            assert (pod.v4, pod.v6) in expected
        rounds = outwards.rounds, inwards.rounds
        wait_for(
            "all have sent and been sent to",
            lambda: outwards.rounds > rounds[0] + 2 and inwards.rounds > rounds[1] + 2,
        )
        assert [one.packets for one in watchers] == [0] * (PODS + 1)
        own.remove_policy("locked-in")
        wait_for("without the policy all get through", lambda: all(w.packets for w in watchers))


@pytest.fixture
def stream(server: Pod, client: Pod) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection from the client to the server."""
    with (
        netns.open_socket(server.netns, socket.AF_INET6, socket.SOCK_STREAM) as listener,
        netns.open_socket(client.netns, socket.AF_INET6, socket.SOCK_STREAM) as ours,
    ):
        listener.bind((server.v6, PORT + 1))
        listener.listen()
        ours.connect((server.v6, PORT + 1))
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


def received(one: socket.socket) -> bytes:
    try:
        return one.recv(64, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def test_a_policy_stops_a_connection_that_it_forbids_and_lets_it_go_on_when_it_is_gone(
    own: BareLab, server: Pod, client: Pod, stream: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = stream
    ours.sendall(b"before")
    wait_for("it comes", lambda: received(theirs) == b"before")
    with own.start("monitor", "--type", "drop", "-o", "json") as monitor:
        try:
            assert monitor.stdout is not None
            assert monitor.stderr is not None
            assert "Listening" in monitor.stderr.readline()
            own.apply("nobody-in", NOBODY_IN)
            wait_for("it is enforced", lambda: own.enforces("server", "ingress"))
            ours.sendall(b"meanwhile")
            drop = next(line for line in monitor.stdout if str(PORT + 1) in line)
        finally:
            monitor.terminate()
    for fact in ("Policy denied", "nobody-in", "k8s:app=client", "k8s:app=server"):
        assert fact in drop, (fact, json.loads(drop))
    assert received(theirs) == b""
    own.remove_policy("nobody-in")
    wait_for("it goes on", lambda: received(theirs) == b"meanwhile")
