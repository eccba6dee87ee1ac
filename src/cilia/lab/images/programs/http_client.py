"""One HTTP/1.1 exchange over a plain or TLS socket, for our curl and wget.

Source: RFC 9112.
"""

import socket
import ssl
import time
from collections.abc import Callable


class Url:
    """An http or https address."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for other schemes and bad ports."""
        scheme, mark, rest = text.partition("://")
        if not mark:
            scheme, rest = "http", text
        self.scheme = scheme.lower()
        if self.scheme not in ("http", "https"):
            raise ValueError(f"Protocol {scheme!r} not supported")
        authority, slash, path = rest.partition("/")
        if not slash and "?" in authority:
            authority, _, query = authority.partition("?")
            path = "?" + query
        self.target = "/" + path.partition("#")[0]
        self.authority = authority.rpartition("@")[2]
        if self.authority.startswith("["):
            host, _, port = self.authority[1:].partition("]")
            port = port.removeprefix(":")
        else:
            host, _, port = self.authority.partition(":")
        if not host:
            raise ValueError("No host part in the URL")
        self.host = host
        self.port = int(port) if port else (443 if self.scheme == "https" else 80)

    def join(self, location: str) -> "Url":
        """The address that a Location header means."""
        if "://" in location:
            return Url(location)
        if location.startswith("/"):
            return Url(f"{self.scheme}://{self.authority}{location}")
        folder = self.target.partition("?")[0].rpartition("/")[0]
        return Url(f"{self.scheme}://{self.authority}{folder}/{location}")


class Exchange:
    """What is asked, and within what limits; times in seconds."""

    def __init__(self, method: str, url: Url, headers: list[tuple[str, str]], body: bytes) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.family = socket.AF_UNSPEC
        self.connect_seconds: float | None = None
        self.deadline: float | None = None
        """By time.monotonic()."""
        self.verify = True
        self.address: tuple[str, int] | None = None
        """Connect here instead of to the URL's host."""


class Answer:
    """What came back."""

    def __init__(self, status: int, head: bytes, headers: dict[str, str], peer: str) -> None:
        self.status = status
        self.head = head
        """Status line and headers as they came."""
        self.headers = headers
        self.peer = peer
        self.body = b""


class Unresolved(OSError):
    """The host has no address."""


class TooSlow(OSError):
    """The deadline passed."""


def connect(exchange: Exchange) -> socket.socket:
    """A connection to the first address that accepts one.

    Raises:
        Unresolved: The name has no address.
        TooSlow: No address answered in time.
        OSError: No address accepted; the last refusal.
    """
    host, port = exchange.address or (exchange.url.host, exchange.url.port)
    try:
        found = socket.getaddrinfo(host, port, exchange.family, socket.SOCK_STREAM)
    except OSError as error:
        raise Unresolved(f"Could not resolve host: {host}") from error
    problem: OSError = OSError("no address")
    for family, kind, protocol, _, place in found:
        channel = socket.socket(family, kind, protocol)
        try:
            channel.settimeout(_left(exchange, exchange.connect_seconds))
            channel.connect(place)
            channel.settimeout(_left(exchange, None))
            return channel
        except TimeoutError:
            channel.close()
            problem = TooSlow("Connection timed out")
        except OSError as error:
            channel.close()
            problem = error
    raise problem


def _left(exchange: Exchange, limit: float | None) -> float | None:
    if exchange.deadline is None:
        return limit
    left = exchange.deadline - time.monotonic()
    if left <= 0:
        raise TooSlow("Operation timed out")
    return left if limit is None else min(left, limit)


def perform(exchange: Exchange) -> Answer:
    """Sends the request and reads the whole answer.

    Raises:
        Unresolved, TooSlow: See `connect`.
        ssl.SSLError: The certificate is not trusted.
        EOFError: The peer closed without an answer.
        OSError: The connection could not be made, or broke.
    """
    channel = connect(exchange)
    try:
        peer = channel.getpeername()[0]
        if exchange.url.scheme == "https":
            channel = _secure(channel, exchange)
        channel.sendall(_encode(exchange))
        return _receive(channel, exchange, peer)
    except TimeoutError:
        raise TooSlow("Operation timed out") from None
    finally:
        channel.close()


def _secure(channel: socket.socket, exchange: Exchange) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    if not exchange.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(channel, server_hostname=exchange.url.host)


def _encode(exchange: Exchange) -> bytes:
    given = {name.lower() for name, _ in exchange.headers}
    lines = [f"{exchange.method} {exchange.url.target} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {exchange.url.authority}")
    if exchange.body and "content-length" not in given:
        lines.append(f"Content-Length: {len(exchange.body)}")
    lines += [f"{name}: {value}" for name, value in exchange.headers]
    lines.append("Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + exchange.body


def _receive(channel: socket.socket, exchange: Exchange, peer: str) -> Answer:
    stream = channel.makefile("rb")
    while True:
        head = _read_head(stream.readline)
        status = int(head.split(b" ", 2)[1])
        if status >= 200:
            break
    headers = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    answer = Answer(status, head, headers, peer)
    if exchange.method == "HEAD" or status in (204, 304):
        return answer
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int(stream.readline().split(b";")[0] or b"0", 16):
            answer.body += stream.read(size)
            stream.readline()
    elif "content-length" in headers:
        answer.body = stream.read(int(headers["content-length"]))
    else:
        answer.body = stream.read()
    return answer


def _read_head(readline: Callable[[], bytes]) -> bytes:
    head = b""
    while line := readline():
        head += line
        if line in (b"\r\n", b"\n"):
            if not head.startswith(b"HTTP/"):
                raise EOFError("the answer is not HTTP")
            return head
    raise EOFError("Empty reply from server")
