"""Numbered traffic: what was sent, what came, and whether anything is missing between them."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cilia.kernel import netns
from lab.running_lab import wait_for
from lab.traffic import Pod

PAUSE_S = 0.004
PATIENCE_S = 10.0
"""A new connection or a stream that takes longer is broken."""
_NUMBER = struct.Struct("!Q")
_EVERY_PROTOCOL = 0x0003
_SO_RCVBUFFORCE = 33


class Watcher:
    """Counts the packets that reach a network namespace and are of one sort.

    It may be there before the interface that they come by.
    """

    def __init__(self, namespace: str, is_wanted: Callable[[bytes], bool]) -> None:
        self.packets = 0
        self._is_wanted = is_wanted
        protocol = socket.htons(_EVERY_PROTOCOL)
        self._socket = netns.open_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW, protocol)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
        self._socket.settimeout(0.1)

    def watch(self, stop: threading.Event) -> None:
        """Counts until told to stop."""
        with self._socket:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    frame, (_, _, direction, *_) = self._socket.recvfrom(128)
                    if direction != socket.PACKET_OUTGOING and self._is_wanted(frame):
                        self.packets += 1


def sent_by(address: str) -> Callable[[bytes], bool]:
    """Whether an Ethernet frame carries a packet from that address."""
    is_v6 = ":" in address
    wanted = socket.inet_pton(socket.AF_INET6 if is_v6 else socket.AF_INET, address)
    at = slice(22, 38) if is_v6 else slice(26, 30)
    return lambda frame: frame[at] == wanted


def to_port(port: int) -> Callable[[bytes], bool]:
    """Whether an Ethernet frame carries UDP or TCP without IP options to that port."""
    wanted = port.to_bytes(2, "big")
    v4, v6 = b"\x08\x00", b"\x86\xdd"

    def matches(frame: bytes) -> bool:
        kind = frame[12:14]
        return (kind == v4 and frame[36:38] == wanted) or (kind == v6 and frame[56:58] == wanted)

    return matches


class Numbered:
    """TCP with sequence numbers, numbered datagrams and new connections to one address.

    Attributes:
        sent: Datagrams, and numbers of the stream, so far.
        received: Those that arrived.
        connections: New ones that were answered.
        troubles: What went wrong.
    """

    def __init__(self, client: Pod, server: Pod, to: str, port: int) -> None:
        self.sent = {"udp": 0, "tcp": 0}
        self.received = {"udp": 0, "tcp": 0}
        self.connections = 0
        self.troubles: list[str] = []
        self._client, self._server, self._address = client, server, (to, port)
        self._family = socket.AF_INET6 if ":" in to else socket.AF_INET
        self._done = False
        self._datagrams = self._open(server, socket.SOCK_DGRAM)
        self._datagrams.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
        self._datagrams.bind(self._address)
        self._listener = self._open(server, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(self._address)
        self._listener.listen(64)

    @property
    def works(self) -> list[Callable[[threading.Event], None]]:
        """What runs, each in a thread."""
        return [
            self._send_datagrams,
            self._receive_datagrams,
            self._send_stream,
            self._accept,
            self._connect_again_and_again,
        ]

    def counts(self) -> tuple[int, int, int]:
        """How far each kind is, as the receiver sees it."""
        return self.received["udp"], self.received["tcp"], self.connections

    def is_complete(self) -> bool:
        """Whether everything that was sent has arrived."""
        return self.received == self.sent

    def _open(self, pod: Pod, kind: int) -> socket.socket:
        one = netns.open_socket(pod.netns, self._family, kind)
        one.settimeout(PATIENCE_S)
        return one

    def _send_datagrams(self, stop: threading.Event) -> None:
        with self._open(self._client, socket.SOCK_DGRAM) as one:
            one.connect(self._address)
            while not stop.wait(PAUSE_S):
                try:
                    one.send(_NUMBER.pack(self.sent["udp"] + 1))
                    self.sent["udp"] += 1
                except OSError as error:
                    self.troubles.append(f"datagram {self.sent['udp'] + 1}: {error!r}")
                    return

    def _receive_datagrams(self, stop: threading.Event) -> None:
        self._datagrams.settimeout(0.1)
        with self._datagrams as one:
            while not (stop.is_set() and self._done):
                with contextlib.suppress(TimeoutError):
                    (number,) = _NUMBER.unpack(one.recv(64))
                    if number != self.received["udp"] + 1:
                        hole = f"datagram {number} after {self.received['udp']}"
                        self.troubles.append(hole)
                    self.received["udp"] = number

    def _send_stream(self, stop: threading.Event) -> None:
        with self._open(self._client, socket.SOCK_STREAM) as one:
            try:
                one.connect(self._address)
                while not stop.wait(PAUSE_S):
                    one.sendall(_NUMBER.pack(self.sent["tcp"] + 1))
                    self.sent["tcp"] += 1
            except OSError as error:
                self.troubles.append(f"stream at {self.sent['tcp']}: {error!r}")

    def _accept(self, stop: threading.Event) -> None:
        self._listener.settimeout(0.1)
        servers = []
        with self._listener as listener:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    servers.append(threading.Thread(target=self._serve, args=(connection,)))
                    servers[-1].start()
        for one in servers:
            one.join()

    def _serve(self, connection: socket.socket) -> None:
        """Answers what is asked once; else reads the numbers of the stream."""
        connection.settimeout(PATIENCE_S)
        try:
            with connection, connection.makefile("rb") as stream:
                while len(record := stream.read(_NUMBER.size)) == _NUMBER.size:
                    (number,) = _NUMBER.unpack(record)
                    if number == 0:
                        connection.sendall(record)
                        continue
                    if number != self.received["tcp"] + 1:
                        self.troubles.append(f"stream: {number} after {self.received['tcp']}")
                    self.received["tcp"] = number
        except OSError as error:
            self.troubles.append(f"server's side of a stream: {error!r}")

    def _connect_again_and_again(self, stop: threading.Event) -> None:
        while not stop.wait(0.02):
            with self._open(self._client, socket.SOCK_STREAM) as one:
                try:
                    one.connect(self._address)
                    one.sendall(_NUMBER.pack(0))
                    if len(one.recv(_NUMBER.size)) != _NUMBER.size:
                        raise ConnectionError("it ended before its answer")
                    self.connections += 1
                except OSError as error:
                    self.troubles.append(f"new connection {self.connections + 1}: {error!r}")

    def finish(self) -> None:
        """Lets the receivers end: the last datagram has come."""
        self._done = True


class Blaster:
    """Sends to addresses without looking whether anything comes back.

    Attributes:
        rounds: How often it has tried every target; it may be that no device was there.
    """

    def __init__(
        self, targets: Sequence[tuple[str, str]], port: int, pause_s: float = PAUSE_S
    ) -> None:
        """Opens the sockets.

        Args:
            targets: Network namespace to send from, and address to send to.
        """
        self.rounds = 0
        self._port = port
        self._pause_s = pause_s
        self._targets = [
            (namespace, to, socket.AF_INET6 if ":" in to else socket.AF_INET)
            for namespace, to in targets
        ]
        self._sockets = [
            netns.open_socket(namespace, family, socket.SOCK_DGRAM)
            for namespace, _, family in self._targets
        ]

    def blast(self, stop: threading.Event) -> None:
        """UDP and TCP SYN until told to stop."""
        with contextlib.ExitStack() as stack:
            for one in self._sockets:
                stack.enter_context(one).setblocking(False)
            while not stop.wait(self._pause_s):
                for datagrams, target in zip(self._sockets, self._targets, strict=True):
                    self._send(datagrams, *target)
                self.rounds += 1

    def _send(self, datagrams: socket.socket, namespace: str, to: str, family: int) -> None:
        with contextlib.suppress(OSError):
            datagrams.sendto(b"nobody may see this", (to, self._port))
        with netns.open_socket(namespace, family, socket.SOCK_STREAM) as stream:
            stream.setblocking(False)
            stream.connect_ex((to, self._port))


@contextmanager
def running(*works: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Runs each in a thread, until the block ends or its event is set."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Flows:
    """Numbered traffic of both families to one server, and a stranger who may not reach it."""

    def __init__(self, client: Pod, server: Pod, stranger: Pod, port: int) -> None:
        self._numbered = [Numbered(client, server, to, port) for to in (server.v4, server.v6)]
        self._stranger = Blaster([(stranger.netns, to) for to in (server.v4, server.v6)], port)
        self._forbidden, self._allowed = (
            [Watcher(server.netns, sent_by(address)) for address in (pod.v4, pod.v6)]
            for pod in (stranger, client)
        )

    @property
    def works(self) -> list[Callable[[threading.Event], None]]:
        """What runs, each in a thread."""
        return [
            *(work for one in self._numbered for work in one.works),
            self._stranger.blast,
            *(one.watch for one in (*self._forbidden, *self._allowed)),
        ]

    def go_on(self, rounds: int = 20) -> None:
        """Waits until everything has moved on by so many."""
        before = self._counts()
        wait_for(
            f"traffic goes on; {self._troubles()[:1]}",
            lambda: all(
                now >= then + rounds for now, then in zip(self._counts(), before, strict=True)
            ),
        )

    def assert_whole(self, stop: threading.Event) -> None:
        """Stops sending; fails unless all has come, in order, and of the stranger nothing."""
        stop.set()
        wait_for(
            "all that was sent has come", lambda: all(one.is_complete() for one in self._numbered)
        )
        assert self._troubles() == []
        assert all(one.packets for one in self._allowed), "the watchers see nothing at all"
        assert [one.packets for one in self._forbidden] == [0, 0]

    def finish(self) -> None:
        """Lets the receivers end, whatever has come."""
        for one in self._numbered:
            one.finish()

    def _counts(self) -> list[int]:
        counted = [number for one in self._numbered for number in one.counts()]
        return [*counted, self._stranger.rounds]

    def _troubles(self) -> list[str]:
        return [trouble for one in self._numbered for trouble in one.troubles]


@contextmanager
def flows(client: Pod, server: Pod, stranger: Pod, port: int) -> Iterator[Flows]:
    """Traffic while in the block, which is found whole at its end."""
    one = Flows(client, server, stranger, port)
    with running(*one.works) as stop:
        try:
            one.go_on()
            yield one
            one.assert_whole(stop)
        finally:
            one.finish()
