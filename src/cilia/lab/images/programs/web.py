"""A small HTTP/1.1 server: both families, keep-alive, a thread a connection.

http.server is not used because importing it costs more than this whole program.

Source: RFC 9112.
"""

import contextlib
import json
import signal
import socket
import sys
import threading
from collections.abc import Callable
from itertools import pairwise

MAX_HEAD_BYTES = 64 * 1024
IDLE_SECONDS = 75.0
_REASONS = {200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 401: "Unauthorized",
            404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}  # fmt: skip


class Request:
    """One request."""

    def __init__(self, line: str, headers: dict[str, str], body: bytes, peer: str) -> None:
        self.method, self.target, self.version = line.split(" ", 2)
        self.path, _, self.query = self.target.partition("?")
        self.headers = headers
        """Names in lower case."""
        self.body = body
        self.peer = peer
        """The client's address, an IPv4 one in IPv4 form."""


class Response:
    """One answer."""

    def __init__(self, body: str = "", status: int = 200, kind: str = "text/plain") -> None:
        self.status = status
        self.body = body.encode()
        self.kind = kind


def json_answer(value: object, status: int = 200) -> Response:
    """An answer that is a JSON document."""
    return Response(json.dumps(value, indent=2) + "\n", status, "application/json")


Handler = Callable[[Request], Response]


def serve(handler: Handler, port: int) -> int:
    """Serves until SIGTERM or SIGINT comes; returns the exit code."""
    listener = listen(port)
    print(f"listening on port {port}", flush=True)
    threading.Thread(target=accept, args=(listener, handler), daemon=True).start()
    waited = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    signal.sigwait(waited)
    return 0


def listen(port: int) -> socket.socket:
    """A listening socket for IPv6 and IPv4, or IPv4 alone on a kernel without IPv6."""
    try:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        place: tuple[str, int] = ("::", port)
    except OSError:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        place = ("0.0.0.0", port)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(place)
    listener.listen(1024)
    return listener


def accept(listener: socket.socket, handler: Handler) -> None:
    """Gives each connection a thread; ends when the listener is closed."""
    while True:
        try:
            channel, place = listener.accept()
        except OSError:
            return
        peer = place[0].removeprefix("::ffff:")
        threading.Thread(target=_converse, args=(channel, peer, handler), daemon=True).start()


def _converse(channel: socket.socket, peer: str, handler: Handler) -> None:
    with contextlib.suppress(OSError), channel:
        channel.settimeout(IDLE_SECONDS)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pending = b""
        while True:
            try:
                request, pending = _receive(channel, pending, peer)
            except ValueError as error:
                channel.sendall(_encode(Response(f"{error}\n", 400), head=False, close=True))
                return
            if request is None:
                return
            answer = handler(request)
            print(f"{peer} {request.method} {request.target} {answer.status}", flush=True)
            close = _closes(request)
            channel.sendall(_encode(answer, head=request.method == "HEAD", close=close))
            if close:
                return


def _receive(channel: socket.socket, pending: bytes, peer: str) -> tuple[Request | None, bytes]:
    while b"\r\n\r\n" not in pending:
        if len(pending) > MAX_HEAD_BYTES:
            raise ValueError("request head is too long")
        chunk = channel.recv(65536)
        if not chunk:
            return None, b""
        pending += chunk
    head, _, rest = pending.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
    }
    if headers.get("expect", "").lower() == "100-continue":
        channel.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, rest = _receive_chunks(channel, rest)
    else:
        length = int(headers.get("content-length", "0"))
        rest = _receive_until(channel, rest, length)
        body, rest = rest[:length], rest[length:]
    if first.count(" ") != 2:
        raise ValueError("request line is not METHOD TARGET VERSION")
    return Request(first, headers, body, peer), rest


def _receive_until(channel: socket.socket, pending: bytes, length: int) -> bytes:
    while len(pending) < length:
        chunk = channel.recv(65536)
        if not chunk:
            raise OSError("the client went away in the middle of a request")
        pending += chunk
    return pending


def _receive_chunks(channel: socket.socket, pending: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        while b"\r\n" not in pending:
            pending = _receive_until(channel, pending, len(pending) + 1)
        size_text, _, pending = pending.partition(b"\r\n")
        size = int(size_text.split(b";")[0], 16)
        pending = _receive_until(channel, pending, size + 2)
        body, pending = body + pending[:size], pending[size + 2 :]
        if size == 0:
            return body, pending


def _closes(request: Request) -> bool:
    wish = request.headers.get("connection", "").lower()
    return wish == "close" or (request.version == "HTTP/1.0" and wish != "keep-alive")


def _encode(answer: Response, *, head: bool, close: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}",
        f"Content-Type: {answer.kind}",
        f"Content-Length: {len(answer.body)}",
        f"Connection: {'close' if close else 'keep-alive'}",
    ]
    text = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return text if head else text + answer.body


def port_argument(arguments: list[str], default: int) -> int:
    """The number after `--port` or `-listen :N`, or a default.

    >>> port_argument(["--port", "81"], 80), port_argument(["-listen=:5678"], 80)
    (81, 5678)
    """
    words = [part for word in arguments for part in word.split("=", 1)]
    for flag, value in pairwise(words):
        if flag in ("--port", "-port", "-p", "-listen", "--listen"):
            try:
                return int(value.rpartition(":")[2])
            except ValueError:
                print(f"{flag} {value}: not a port; using {default}", file=sys.stderr)
    return default
