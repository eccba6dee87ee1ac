"""Real sockets in the network namespaces of pods, nodes and the world, in one process.

One thread answers on every address; a probe of hundreds of flows is one epoll loop.
What is expected to pass is given time; what is not is given a moment after that.
"""

import contextlib
import errno
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import TracebackType

import msgspec

from cilia.kernel import netns
from lab.policy.truth import PING, TCP, UDP, Flow

PATIENCE_S = 10.0
"""What should pass and has not by then is stopped."""
QUIET_S = 0.2
"""How long a flow that should be stopped is watched; one that passes takes milliseconds."""
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
PASSED, STOPPED = "passed", "stopped"
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_ECHO = {4: (socket.IPPROTO_ICMP, 8, 0), 6: (socket.IPPROTO_ICMPV6, 128, 129)}


class Place(msgspec.Struct, frozen=True):
    """A pair of addresses in a network namespace."""

    name: str
    netns: str
    v4: str
    v6: str
    answers: bool = True
    """Whether our server is there; else a connection that opens says it all."""

    def address(self, family: int) -> str:
        """Its address of a family."""
        return self.v4 if family == 4 else self.v6


class Servers:
    """Answers on addresses and ports, TCP and UDP, with the name of the place."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ, None)
        self._sockets: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def listen(self, place: Place, ports: Iterable[int]) -> None:
        """Opens the sockets of a place; before `start`."""
        with netns.inside(place.netns):
            for port in ports:
                for family in (4, 6):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        self._open(place, family, kind, port)

    def start(self) -> None:
        """Starts to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Closes everything."""
        self._stop.send(b".")
        self._thread.join()
        for each in (*self._sockets, self._stop, self._stopped):
            each.close()
        self._selector.close()

    def _open(self, place: Place, family: int, kind: int, port: int) -> None:
        one = socket.socket(_FAMILY[family], kind)
        self._sockets.add(one)
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((place.address(family), port))
        if kind == socket.SOCK_STREAM:
            one.listen(256)
        answer = f"HTTP/1.0 200 OK\r\nContent-Length: {len(place.name)}\r\n\r\n{place.name}"
        self._selector.register(one, selectors.EVENT_READ, (kind, answer.encode()))

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                one = key.fileobj
                assert isinstance(one, socket.socket)
                with contextlib.suppress(OSError):
                    self._answer(one, *key.data)

    def _answer(self, one: socket.socket, kind: int | None, answer: bytes) -> None:
        if kind == socket.SOCK_STREAM:
            connection, _ = one.accept()
            connection.setblocking(False)
            self._sockets.add(connection)
            self._selector.register(connection, selectors.EVENT_READ, (None, answer))
        elif kind == socket.SOCK_DGRAM:
            _, sender = one.recvfrom(256)
            one.sendto(answer, sender)
        else:
            self._reply(one, answer)

    def _reply(self, connection: socket.socket, answer: bytes) -> None:
        try:
            if connection.recv(4096):
                connection.sendall(answer)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._selector.unregister(connection)
        self._sockets.discard(connection)
        connection.close()


class Conversation:
    """A socket of one place that speaks to another, step by step."""

    def __init__(self, flow: Flow, source: Place, target: Place) -> None:
        """Opens it; the caller is in the source's namespace."""
        self.flow = flow
        self.target = target
        self.outcome = ""
        self._to = target.address(flow.family)
        kind = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM, PING: socket.SOCK_RAW}
        protocol = _ECHO[flow.family][0] if flow.protocol == PING else 0
        self.socket = socket.socket(_FAMILY[flow.family], kind[flow.protocol], protocol)
        self.socket.setblocking(False)
        self.socket.bind((source.address(flow.family), 0))
        self._id = self.socket.fileno() & 0xFFFF
        with self._judging():
            self._begin()

    def fileno(self) -> int:
        """Of the socket."""
        return self.socket.fileno()

    def ask(self) -> None:
        """Sends one more request."""
        with self._judging():
            pings = self.flow.protocol == PING
            self.socket.send(_echo_request(self.flow.family, self._id) if pings else REQUEST)

    def advance(self, *, writable: bool) -> None:
        """Goes on after epoll said something."""
        with self._judging():
            if writable:
                error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                if self.target.answers:
                    self.socket.send(REQUEST)
                else:
                    self.outcome = PASSED
            else:
                self._listen()

    def _begin(self) -> None:
        if self.flow.protocol == TCP:
            self.socket.connect((self._to, self.flow.port))
        else:
            self.socket.connect((self._to, self.flow.port))
            self.ask()

    def _listen(self) -> None:
        answer = self.socket.recv(4096)
        if self.flow.protocol == PING:
            if _is_echo_reply(answer, self.flow.family, self._id):
                self.outcome = PASSED
        elif answer.endswith(self.target.name.encode()):
            self.outcome = PASSED
        else:
            self.outcome = f"was answered by somebody else: {answer!r}"

    @contextlib.contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            pass
        except OSError as error:
            self.outcome = f"failed with {errno.errorcode.get(error.errno or 0)}"


class Conversations:
    """Open conversations, in one epoll loop."""

    def __init__(self, places: Mapping[str, Place], asked: Iterable[Flow]) -> None:
        self._poll = selectors.EpollSelector()
        self.all: list[Conversation] = []
        for source, group in groupby(sorted(asked), key=lambda flow: flow.source):
            with netns.inside(places[source].netns):
                for flow in group:
                    self._add(Conversation(flow, places[source], places[flow.target]))

    def __enter__(self) -> "Conversations":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self.all:
            one.socket.close()
        self._poll.close()

    def _add(self, one: Conversation) -> None:
        self.all.append(one)
        writing = one.flow.protocol == TCP
        self._poll.register(one, selectors.EVENT_WRITE if writing else selectors.EVENT_READ)

    def ask_again(self) -> None:
        """Sends another request on each, connected as they are."""
        for one in self.all:
            one.outcome = ""
            one.ask()

    def outcomes(self, expected: Mapping[Flow, bool]) -> dict[Flow, str]:
        """What became of each: passed, stopped, or what went wrong."""
        began = time.monotonic()
        waiting = {one for one in self.all if not one.outcome}
        hoped = {one for one in waiting if expected[one.flow]}
        while waiting:
            limit = PATIENCE_S if hoped else QUIET_S
            left = began + limit - time.monotonic()
            if left <= 0:
                break
            for key, events in self._poll.select(left):
                one = key.fileobj
                assert isinstance(one, Conversation)
                writable = bool(events & selectors.EVENT_WRITE)
                one.advance(writable=writable)
                if writable:
                    self._poll.modify(one, selectors.EVENT_READ)
                if one.outcome:
                    waiting.discard(one)
                    hoped.discard(one)
        return {one.flow: one.outcome or STOPPED for one in self.all}


def probe(places: Mapping[str, Place], expected: Mapping[Flow, bool]) -> dict[Flow, str]:
    """Tries every flow at once, each on a socket of its own."""
    with Conversations(places, expected) as conversations:
        return conversations.outcomes(expected)


def _echo_request(family: int, ident: int) -> bytes:
    header = struct.pack("!BBHHH", _ECHO[family][1], 0, 0, ident, 1)
    # For IPv6 the kernel fills in the checksum. Source: RFC 3542, section 3.1.
    total = sum(struct.unpack("!4H", header)) if family == 4 else 0xFFFF
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", _ECHO[family][1], 0, ~total & 0xFFFF, ident, 1)


def _is_echo_reply(packet: bytes, family: int, ident: int) -> bool:
    message = packet[(packet[0] & 15) * 4 :] if family == 4 else packet
    return message[0] == _ECHO[family][2] and struct.unpack_from("!H", message, 4)[0] == ident
