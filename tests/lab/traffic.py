"""Traffic between pods, made by sockets that live in the pods' network namespaces."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cilia.kernel import netns

WAIT_S = 2.0
"""A packet that has not come back by then is lost."""


class Pod(msgspec.Struct, frozen=True):
    """Where a pod is."""

    netns: str
    v4: str
    v6: str


def pods(lab: str, node: str = "node-1") -> dict[str, Pod]:
    """The pods of a lab's node by name, as the agent has stored them."""
    folder = Path(f"/var/lib/cilia/lab/{lab}/nodes/{node}/endpoints")
    records = [json.loads(path.read_bytes()) for path in folder.glob("*.json")]
    return {one["pod"]: Pod(one["netns"], one["v4"], one["v6"]) for one in records}


class Troubles:
    """What went wrong, and how much went well."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.rounds: dict[str, int] = {"tcp": 0, "udp": 0, "connect": 0, "forbidden": 0}

    def assert_none(self) -> None:
        assert not self.found, f"{len(self.found)} troubles, first: {self.found[0]}; {self.rounds}"


class Traffic:
    """Steady TCP, steady UDP, new connections; and attempts that policy forbids."""

    def __init__(self, client: Pod, server: Pod, stranger: Pod | None, port: int) -> None:
        self.troubles = Troubles()
        self._client, self._server, self._stranger, self._port = client, server, stranger, port
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listeners: list[socket.socket] = []

    def start(self) -> None:
        """Opens the sockets and starts the threads."""
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                one = netns.open_socket(self._server.netns, family, kind)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((address, self._port))
                if kind == socket.SOCK_STREAM:
                    one.listen(64)
                self._listeners.append(one)
                self._spawn(self._accept if kind == socket.SOCK_STREAM else self._echo, one)
        for to in (self._server.v4, self._server.v6):
            self._spawn(self._stream, to)
            self._spawn(self._datagrams, to)
            self._spawn(self._connects, to)
            if self._stranger is not None:
                self._spawn(self._forbidden, to)

    def stop(self) -> None:
        """Ends everything."""
        self._stop.set()
        for one in self._listeners:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _spawn(self, work: Callable[..., None], argument: object) -> None:
        thread = threading.Thread(target=work, args=(argument,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _open(self, pod: Pod, to: str, kind: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        one = netns.open_socket(pod.netns, family, kind)
        one.settimeout(WAIT_S)
        return one

    def _accept(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(64):
                connection.sendall(data)

    def _echo(self, listener: socket.socket) -> None:
        listener.settimeout(0.2)
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                data, sender = listener.recvfrom(64)
                listener.sendto(data, sender)

    def _stream(self, to: str) -> None:
        with self._open(self._client, to, socket.SOCK_STREAM) as one:
            try:
                one.connect((to, self._port))
                while not self._stop.wait(0.01):
                    one.sendall(b"ping")
                    if one.recv(64) != b"ping":
                        raise ConnectionError("the stream ended")
                    self.troubles.rounds["tcp"] += 1
            except OSError as error:
                self._note(f"stream to {to}: {error!r}")

    def _datagrams(self, to: str) -> None:
        with self._open(self._client, to, socket.SOCK_DGRAM) as one:
            one.connect((to, self._port))
            number = 0
            while not self._stop.wait(0.01):
                number += 1
                try:
                    one.send(str(number).encode())
                    assert one.recv(64) == str(number).encode()
                    self.troubles.rounds["udp"] += 1
                except OSError as error:
                    self._note(f"datagram {number} to {to}: {error!r}")

    def _connects(self, to: str) -> None:
        while not self._stop.wait(0.03):
            with self._open(self._client, to, socket.SOCK_STREAM) as one:
                try:
                    one.connect((to, self._port))
                    one.sendall(b"once")
                    assert one.recv(64) == b"once"
                    self.troubles.rounds["connect"] += 1
                except OSError as error:
                    self._note(f"new connection to {to}: {error!r}")

    def _forbidden(self, to: str) -> None:
        assert self._stranger is not None
        while not self._stop.is_set():
            with self._open(self._stranger, to, socket.SOCK_STREAM) as one:
                one.settimeout(0.05)
                try:
                    one.connect((to, self._port))
                    self._note(f"a stranger got through to {to}")
                except TimeoutError:
                    self.troubles.rounds["forbidden"] += 1
                except OSError as error:
                    self._note(f"stranger to {to}: {error!r}")

    def _note(self, trouble: str) -> None:
        if not self._stop.is_set():
            self.troubles.found.append(f"{time.strftime('%T')} {trouble}")


@contextmanager
def traffic(client: Pod, server: Pod, stranger: Pod | None, port: int) -> Iterator[Troubles]:
    """Traffic while in the block; afterwards look at what it found."""
    running = Traffic(client, server, stranger, port)
    running.start()
    try:
        yield running.troubles
    finally:
        running.stop()
