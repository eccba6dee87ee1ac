"""The netlink codec and its socket.

Requests are values, so that a caller sends many in one system call: the kernel
works through them in order and answers each.

Source:
    RFC 3549; Linux Documentation/userspace-api/netlink/intro.rst.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cilia.kernel import netns
from cilia.kernel.errors import kernel_error

REQUEST, ACK, DUMP = 1, 4, 0x300
REPLACE, EXCL, CREATE = 0x100, 0x200, 0x400
_MULTI = 2
_ERROR, _DONE = 2, 3
_ACK_TLVS = 0x200
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_NESTED = 0x8000
_RECEIVE = 1 << 18


class Request(msgspec.Struct, frozen=True):
    """One message to the kernel."""

    kind: int
    """Message type, such as RTM_NEWLINK."""
    flags: int
    body: bytes
    """The family's header and attributes."""
    subject: str
    """What it does to what, for errors: "create link lxc0"."""
    tolerates: tuple[int, ...] = ()
    """Error numbers that mean "it is as you wish already"."""


def attribute(kind: int, payload: bytes | int | str) -> bytes:
    """An attribute: a number takes 4 bytes, a text ends with a zero byte.

    >>> attribute(4, 1500).hex()
    '08000400dc050000'
    """
    if isinstance(payload, int):
        payload = struct.pack("<I", payload)
    elif isinstance(payload, str):
        payload = payload.encode() + b"\0"
    length = 4 + len(payload)
    return struct.pack("<HH", length, kind) + payload + bytes(-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def attributes(raw: bytes) -> dict[int, bytes]:
    """Attributes by kind; the last wins. A broken tail is left out.

    >>> attributes(attribute(4, 1500) + attribute(3, "lo"))
    {4: b'\\xdc\\x05\\x00\\x00', 3: b'lo\\x00'}
    """
    found, at = {}, 0
    while at + 4 <= len(raw):
        length, kind = struct.unpack_from("<HH", raw, at)
        if length < 4 or at + length > len(raw):
            break
        found[kind & 0x3FFF] = raw[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


class NetlinkSocket:
    """A route-netlink socket that lives in one network namespace."""

    def __init__(self, namespace: str | Path | None = None) -> None:
        """Opens it; None: in the calling thread's namespace."""
        self._socket = netns.open_socket(
            namespace, socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
        )
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> "NetlinkSocket":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def commit(self, *requests: Request) -> None:
        """Sends requests in one call; returns when the kernel has done all of them.

        Raises:
            KernelError: The first one that failed; the kernel went on with the later ones.
        """
        if not requests:
            return
        first = self._sequence + 1
        self._socket.send(b"".join(self._encode(one, one.flags | ACK) for one in requests))
        failure, missing = None, len(requests)
        while missing:
            for kind, flags, sequence, body in self._receive():
                if kind != _ERROR or not first <= sequence <= self._sequence:
                    continue
                missing -= 1
                (number,) = struct.unpack_from("<i", body)
                request = requests[sequence - first]
                if number and -number not in request.tolerates and failure is None:
                    action, _, target = request.subject.partition(" ")
                    failure = kernel_error(action, target, -number, _words(flags, body))
        if failure is not None:
            raise failure

    def dump(self, request: Request) -> list[bytes]:
        """The bodies of all answers to a request that lists things."""
        self._socket.send(self._encode(request, request.flags | DUMP))
        return list(self._answers(request))

    def ask(self, request: Request) -> bytes:
        """The body of the one answer to a request for one thing.

        Raises:
            NotFoundError: There is no such thing.
        """
        self._socket.send(self._encode(request, request.flags))
        return next(self._answers(request))

    def _answers(self, request: Request) -> Iterator[bytes]:
        sequence = self._sequence
        while True:
            for kind, flags, answered, body in self._receive():
                if answered != sequence:
                    continue
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    (number,) = struct.unpack_from("<i", body)
                    action, _, target = request.subject.partition(" ")
                    if number:
                        raise kernel_error(action, target, -number, _words(flags, body))
                    return
                yield body
                if not flags & _MULTI:
                    return

    def _encode(self, request: Request, flags: int) -> bytes:
        self._sequence += 1
        length = 16 + len(request.body)
        head = struct.pack("<IHHII", length, request.kind, flags | REQUEST, self._sequence, 0)
        return head + request.body + bytes(-length % 4)

    def _receive(self) -> list[tuple[int, int, int, bytes]]:
        raw = self._socket.recv(_RECEIVE)
        found, at = [], 0
        while at + 16 <= len(raw):
            length, kind, flags, sequence, _ = struct.unpack_from("<IHHII", raw, at)
            found.append((kind, flags, sequence, raw[at + 16 : at + length]))
            at += (length + 3) & ~3
        return found


def _words(flags: int, body: bytes) -> str:
    """What the kernel says in words about a refusal, if it does."""
    if not flags & _ACK_TLVS:
        return ""
    said = attributes(body[20:]).get(1, b"")
    return said.rstrip(b"\0").decode(errors="replace")


MISSING = (errno.ENOENT, errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL)
PRESENT = (errno.EEXIST,)
