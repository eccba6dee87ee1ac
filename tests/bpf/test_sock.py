"""Services at the socket: real sockets in a cgroup and a network namespace of their own."""

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bpf.harness import BTF, OBJECTS, C, address_bytes
from cilia.kernel import netns
from cilia.kernel.links import Hook, Link, attach_cgroup
from cilia.kernel.maps import Map, MapKind
from cilia.kernel.mounts import cgroup2_root
from cilia.kernel.objects import BpfObject
from cilia.kernel.rings import Ring

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
ACTIVE = C["BACKEND_ACTIVE"]
NO_BACKEND = C["DROP_SERVICE_BACKEND_NOT_FOUND"]
HOOKS = {
    "sock_connect4": Hook.CGROUP_INET4_CONNECT,
    "sock_connect6": Hook.CGROUP_INET6_CONNECT,
    "sock_sendmsg4": Hook.CGROUP_UDP4_SENDMSG,
    "sock_sendmsg6": Hook.CGROUP_UDP6_SENDMSG,
    "sock_recvmsg4": Hook.CGROUP_UDP4_RECVMSG,
    "sock_recvmsg6": Hook.CGROUP_UDP6_RECVMSG,
    "sock_peer4": Hook.CGROUP_INET4_GETPEERNAME,
    "sock_peer6": Hook.CGROUP_INET6_GETPEERNAME,
}

CLIENT = """
import json, socket, sys
kind, family, address, port, times, protocol = json.loads(sys.argv[1])
kind, answers = getattr(socket, kind), []
for _ in range(times):
    with socket.socket(family, kind, protocol) as one:
        one.settimeout(10)
        try:
            if sys.argv[2] == "connect":
                one.connect((address, port))
                one.send(b"hello")
                text, sender = one.recvfrom(100)
                peer = one.getpeername()[:2]
            else:
                one.sendto(b"hello", (address, port))
                text, sender = one.recvfrom(100)
                peer = None
        except OSError as error:
            answers.append({"errno": error.errno})
            continue
        answers.append({"text": text.decode(), "peer": peer, "sender": sender and sender[:2]})
print(json.dumps(answers))
"""

SERVER = """
import json, selectors, socket, sys
chosen = selectors.DefaultSelector()
for kind, address, port in json.loads(sys.argv[1]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, getattr(socket, kind))
    one.bind((address, port))
    if kind == "SOCK_STREAM":
        one.listen(64)
    chosen.register(one, selectors.EVENT_READ, f"{address} {port}".encode())
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        if key.fileobj.type == socket.SOCK_STREAM:
            with key.fileobj.accept()[0] as peer:
                peer.recv(100)
                peer.sendall(key.data)
        else:
            key.fileobj.sendto(key.data, key.fileobj.recvfrom(100)[1])
"""


class Sockets:
    """Programs on a cgroup; clients in it and in a namespace whose `lo` is everybody."""

    def __init__(self, name: str) -> None:
        self.name = name
        config = np.zeros((), BTF.struct("config"))
        config["events"] = 1
        self.object = BpfObject(OBJECTS / "sock.bpf.o")
        self.object.set_global("config", config.tobytes())
        self.object.load()
        self.maps = self.object.maps
        self.rings = self._make_rings()
        self.cgroup = cgroup2_root() / name
        self.cgroup.mkdir()
        self.links: list[Link] = [
            attach_cgroup(self.object.programs[program], self.cgroup, hook)
            for program, hook in HOOKS.items()
        ]
        self.namespace = netns.create(name)
        self.run("ip link set lo up")
        for address in ("10.0.1.5/32", "10.0.1.6/32", "fd00:10::5/128", "fd00:10::6/128"):
            self.run(f"ip addr add {address} dev lo nodad" if ":" in address
                     else f"ip addr add {address} dev lo")  # fmt: skip
        self.server: subprocess.Popen[str] | None = None

    def _make_rings(self) -> list[Ring]:
        outer, layout = self.maps["event_rings"], BTF.struct("event_record")
        rings = []
        for cpu in range(os.cpu_count() or 1):
            inner = Map.create(
                MapKind.RINGBUF, "test_ring", np.dtype("V1"), np.dtype("V1"), 1 << 20
            )
            outer.update(cpu, np.array(inner.fd, "<u4").tobytes())
            rings.append(Ring(inner, layout))
        return rings

    def run(self, command: str) -> str:
        """Runs a command in the namespace, outside the cgroup."""
        words = ["nsenter", f"--net={self.namespace}", *command.split()]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def python(self, script: str, *arguments: str) -> list[str]:
        """The command line of a script in the namespace and the cgroup."""
        enter = f'echo $$ > {self.cgroup}/cgroup.procs; exec "$@"'
        shell = ["nsenter", f"--net={self.namespace}", "sh", "-c", enter, "sh"]
        return [*shell, sys.executable, "-S", "-c", script, *arguments]

    def serve(self, *listeners: tuple[str, str, int]) -> None:
        """Starts a server that answers with the address that it was reached at."""
        self.server = subprocess.Popen(
            self.python(SERVER, json.dumps(listeners)), stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == "ready\n"

    def ask(
        self,
        how: str,
        kind: str,
        address: str,
        port: int = 80,
        *,
        times: int = 1,
        protocol: int = 0,
    ) -> list[dict[str, Any]]:
        """What clients get who connect, or send without connecting, to an address."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        plan = json.dumps([kind, family, address, port, times, protocol])
        words = self.python(CLIENT, plan, how)
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    def add_service(
        self, address: str, protocol: int, *backends: tuple[str, int, int], port: int = 80
    ) -> None:
        """A frontend with backends (address, port, state)."""
        key = (address_bytes(address), port, protocol, 0)
        self.maps["service"].update((*key, 0), (0, len(backends), 7, 1, 0))
        for slot, (backend, backend_port, state) in enumerate(backends, 1):
            number = 100 * protocol + slot
            row = (address_bytes(backend), backend_port, protocol, state, 0)
            self.maps["backend"].update(number, row)
            self.maps["service"].update((*key, slot), (number, 0, 0, 0, 0))

    def events(self) -> list[Any]:
        """All records since the last call."""
        return [record for ring in self.rings for record in ring.read()]

    def close(self) -> None:
        """Leaves nothing behind."""
        if self.server:
            self.server.kill()
            self.server.communicate()
        for ring in self.rings:
            ring.close()
        for link in self.links:
            link.close()
        netns.delete(self.name)
        self.cgroup.rmdir()


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Fresh programs, maps, namespace and cgroup."""
    made = Sockets(f"ct-{os.getpid()}-sock")
    try:
        yield made
    finally:
        made.close()


FRONTENDS = [
    pytest.param("10.96.0.10", "10.0.1.5", id="v4"),
    pytest.param("fd00:96::10", "fd00:10::5", id="v6"),
    pytest.param("::ffff:10.96.0.10", "::ffff:10.0.1.5", id="v4-in-v6"),
]


def plain(address: str) -> str:
    """A mapped address in dotted form; others unchanged."""
    return address.removeprefix("::ffff:")


@pytest.mark.parametrize(("frontend", "backend"), FRONTENDS)
def test_connect_reaches_a_backend_and_shows_the_frontend(
    sockets: Sockets, frontend: str, backend: str
) -> None:
    sockets.serve(("SOCK_STREAM", plain(backend), 8080))
    sockets.add_service(plain(frontend), TCP, (plain(backend), 8080, ACTIVE))
    (answer,) = sockets.ask("connect", "SOCK_STREAM", frontend)
    assert answer["text"] == f"{plain(backend)} 8080"
    assert answer["peer"] == [frontend, 80]


@pytest.mark.parametrize(("frontend", "backend"), FRONTENDS)
def test_multipath_tcp_uses_the_services_of_tcp(
    sockets: Sockets, frontend: str, backend: str
) -> None:
    sockets.serve(("SOCK_STREAM", plain(backend), 8080))
    sockets.add_service(plain(frontend), TCP, (plain(backend), 8080, ACTIVE))
    (answer,) = sockets.ask("connect", "SOCK_STREAM", frontend, protocol=socket.IPPROTO_MPTCP)
    assert answer["text"] == f"{plain(backend)} 8080"


@pytest.mark.parametrize(("frontend", "backend"), FRONTENDS)
@pytest.mark.parametrize("how", ["connect", "sendto"])
def test_datagrams_go_to_a_backend_and_answers_come_from_the_frontend(
    sockets: Sockets, frontend: str, backend: str, how: str
) -> None:
    sockets.serve(("SOCK_DGRAM", plain(backend), 5353))
    sockets.add_service(plain(frontend), UDP, (plain(backend), 5353, ACTIVE), port=53)
    (answer,) = sockets.ask(how, "SOCK_DGRAM", frontend, 53)
    assert answer["text"] == f"{plain(backend)} 5353"
    assert answer["sender"] == [frontend, 53]
    assert answer["peer"] == ([frontend, 53] if how == "connect" else None)


@pytest.mark.parametrize(("frontend", "backend"), FRONTENDS)
@pytest.mark.parametrize(
    ("how", "kind", "protocol"),
    [
        ("connect", "SOCK_STREAM", TCP),
        ("connect", "SOCK_DGRAM", UDP),
        ("sendto", "SOCK_DGRAM", UDP),
    ],
)
def test_a_service_without_backends_refuses_and_says_so(
    sockets: Sockets, frontend: str, backend: str, how: str, kind: str, protocol: int
) -> None:
    sockets.add_service(plain(frontend), protocol)
    assert sockets.ask(how, kind, frontend) == [{"errno": errno.ECONNREFUSED}]
    (event,) = sockets.events()
    assert (event["type"], event["subtype"]) == (C["EVENT_DROP"], NO_BACKEND)
    assert (event["verdict"], event["file"]) == (C["EVENT_DROPPED"], C["FILE_SOCK"])
    assert event["destination"].tobytes() == address_bytes(plain(frontend))
    assert (event["destination_port"], event["protocol"]) == (80, protocol)
    assert event["cookie"]
    counted = sockets.maps["metric"].lookup(
        NO_BACKEND * C["METRIC_DIRECTIONS"] + C["METRIC_SERVICE"]
    )
    assert counted["packets"].sum() == 1


def test_only_active_backends_are_chosen(sockets: Sockets) -> None:
    sockets.serve(("SOCK_STREAM", "10.0.1.5", 8080))
    sockets.add_service(
        "10.96.0.10",
        TCP,
        ("10.0.1.6", 1, C["BACKEND_TERMINATING"]),
        ("10.0.1.5", 8080, ACTIVE),
        ("10.0.1.6", 2, C["BACKEND_QUARANTINED"]),
    )
    answers = sockets.ask("connect", "SOCK_STREAM", "10.96.0.10", times=20)
    assert {answer.get("text") for answer in answers} == {"10.0.1.5 8080"}


def test_a_service_with_none_but_inactive_backends_refuses(sockets: Sockets) -> None:
    sockets.add_service("10.96.0.10", TCP, ("10.0.1.5", 8080, C["BACKEND_TERMINATING"]))
    (answer,) = sockets.ask("connect", "SOCK_STREAM", "10.96.0.10")
    assert answer == {"errno": errno.ECONNREFUSED}


def test_every_backend_gets_its_share(sockets: Sockets) -> None:
    sockets.serve(("SOCK_STREAM", "10.0.1.5", 8080), ("SOCK_STREAM", "10.0.1.6", 8081))
    sockets.add_service("10.96.0.10", TCP, ("10.0.1.5", 8080, ACTIVE), ("10.0.1.6", 8081, ACTIVE))
    answers = sockets.ask("connect", "SOCK_STREAM", "10.96.0.10", times=64)
    assert {answer["text"] for answer in answers} == {"10.0.1.5 8080", "10.0.1.6 8081"}


def test_what_is_no_service_stays_as_it_is(sockets: Sockets) -> None:
    sockets.serve(("SOCK_STREAM", "10.0.1.5", 8080), ("SOCK_DGRAM", "fd00:10::5", 5353))
    sockets.add_service("10.0.1.5", UDP, ("10.0.1.6", 1, ACTIVE), port=8080)
    (stream,) = sockets.ask("connect", "SOCK_STREAM", "10.0.1.5", 8080)
    assert stream["peer"] == ["10.0.1.5", 8080]
    (datagram,) = sockets.ask("sendto", "SOCK_DGRAM", "fd00:10::5", 5353)
    assert datagram["sender"] == ["fd00:10::5", 5353]
    assert sockets.events() == []
    assert sockets.maps["service_reverse"].count() == 0


@pytest.mark.parametrize(("frontend", "backend"), FRONTENDS)
@pytest.mark.parametrize("how", ["connect", "sendto"])
def test_a_translation_is_reported_both_ways_once_a_socket(
    sockets: Sockets, frontend: str, backend: str, how: str
) -> None:
    sockets.serve(("SOCK_DGRAM", plain(backend), 5353))
    sockets.add_service(plain(frontend), UDP, (plain(backend), 5353, ACTIVE), port=53)
    sockets.ask(how, "SOCK_DGRAM", frontend, 53)
    seen = sorted(sockets.events(), key=lambda event: int(event["time"]))
    front, back = address_bytes(plain(frontend)), address_bytes(plain(backend))
    told = [
        (int(one["subtype"]), one["destination"].tobytes(), int(one["destination_port"]))
        for one in seen
    ]
    assert told == [
        (C["SOCK_PRE_FORWARD"], front, 53),
        (C["SOCK_POST_FORWARD"], back, 5353),
        (C["SOCK_PRE_REVERSE"], back, 5353),
        (C["SOCK_POST_REVERSE"], front, 53),
    ]
    assert {(int(one["type"]), int(one["protocol"])) for one in seen} == {(7, UDP)}
    assert [int(one["verdict"]) for one in seen] == [6, 7, 6, 7]
    assert len({int(one["cookie"]) for one in seen}) == 1
    assert {int(one["cgroup"]) for one in seen} == {sockets.cgroup.stat().st_ino}


def test_a_socket_that_asks_two_services_is_reported_twice(sockets: Sockets) -> None:
    sockets.serve(("SOCK_STREAM", "10.0.1.5", 8080))
    for frontend in ("10.96.0.10", "10.96.0.11"):
        sockets.add_service(frontend, TCP, ("10.0.1.5", 8080, ACTIVE))
        sockets.ask("connect", "SOCK_STREAM", frontend, times=2)
    points = [int(event["subtype"]) for event in sockets.events()]
    assert points.count(C["SOCK_PRE_FORWARD"]) == points.count(C["SOCK_POST_FORWARD"]) == 4


def test_a_slot_that_leads_nowhere_refuses(sockets: Sockets) -> None:
    sockets.add_service("10.96.0.10", TCP, ("10.0.1.5", 8080, ACTIVE))
    sockets.maps["backend"].clear()
    (answer,) = sockets.ask("connect", "SOCK_STREAM", "10.96.0.10")
    assert answer == {"errno": errno.ECONNREFUSED}


def test_programs_go_through_the_verifier_in_few_steps(sockets: Sockets) -> None:
    counts = {
        name: one.facts().verified_instructions for name, one in sockets.object.programs.items()
    }
    assert set(counts) == set(HOOKS)
    assert max(counts.values()) < 2000, counts
