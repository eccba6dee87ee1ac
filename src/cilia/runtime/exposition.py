"""Metrics over HTTP: one address, one path, Prometheus text or OpenMetrics.

    scraper ── GET /metrics ──▶ collect (event loop) ─▶ render, gzip (thread) ──▶ scraper

Collectors run in the event loop, so what they read is one snapshot and needs no lock;
text is made in a thread, so a big answer does not hold up whoever shares the loop. One
request a connection and a handful of connections at once: a scraper needs no more, and a
stranger gets no more. A full HTTP server would cost the observer 10 MB and 0.3 s of imports.

Source:
    RFC 9112; https://prometheus.io/docs/instrumenting/exposition_formats/ and
    https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

import asyncio
import contextlib
import gzip
import logging
import math
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import NamedTuple

from prometheus_client.exposition import choose_encoder, generate_latest, gzip_accepted
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cilia.model.errors import InvalidValue

log = logging.getLogger(__name__)

PATH = "/metrics"
HEAD_BYTES = 16 << 10
"""No request for metrics has more in its head."""
PATIENCE_S = 10.0
"""How long a client may take to send its request, and to read the answer."""
CLIENTS = 32
"""Connections at once; beyond it, who has said nothing for longest is let go, or else who
is being answered for longest."""
REST_S = 1.0
"""For so long what was collected is shown again: collecting holds up whoever shares the loop."""
RETRY_S = 5.0
"""Between two attempts at an address that is taken."""
_GZIP_LEVEL = 3


class Answer(NamedTuple):
    """What a client gets."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class MetricsServer:
    """A Service that shows a registry to scrapers.

    An address that is taken is tried again and again: metrics alone must not keep a node
    from working.

    Args:
        address: `HOST:PORT`; `:9962` is every address of the network namespace, port 0 any
            free port. IPv6 addresses stand in brackets.
        registry: What is shown; its collectors are called in the event loop and must not
            wait for anything.
        on_answer: Told of each answer, and how many seconds it took from the request on.

    Attributes:
        port: What is listened on; 0 until then.

    Raises:
        InvalidValue: The address is none.
    """

    def __init__(
        self,
        address: str,
        registry: Collector,
        name: str = "metrics",
        on_answer: Callable[[HTTPStatus, float], None] = lambda status, seconds: None,
    ) -> None:
        self.name = name
        self.port = 0
        self._address = address
        self._host, self._wanted = parse_address(address)
        self._registry = registry
        self._on_answer = on_answer
        self._turn = asyncio.Lock()
        self._collected: list[Metric] = []
        self._collected_at = -math.inf
        self._clients: dict[asyncio.Task[None], None] = {}
        """In the order of their coming, but those that have asked go to the end."""
        self._silent: dict[asyncio.Task[None], None] = {}
        """Those that have not asked yet, in the order of their coming."""

    async def run(self, ready: asyncio.Event) -> None:
        """Serves until cancelled; ready once it listens, or cannot for now."""
        server = await self._listen(ready)
        self.port = server.sockets[0].getsockname()[1]
        log.info("metrics served", extra={"address": self._address, "port": self.port})
        ready.set()
        try:
            async with server:
                await server.serve_forever()
        finally:
            for task in self._clients:
                task.cancel()
            if self._clients:
                await asyncio.wait(self._clients)

    async def _listen(self, ready: asyncio.Event) -> asyncio.Server:
        told = False
        while True:
            try:
                return await asyncio.start_server(
                    self._accept, self._host, self._wanted, limit=HEAD_BYTES
                )
            except OSError as error:
                if not told:
                    log.error(
                        "metrics are not served; free the address or choose another",
                        extra={"address": self._address, "error": error.strerror or str(error)},
                    )
                told = True
                ready.set()
                await asyncio.sleep(RETRY_S)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a server calls back in a task"
        if len(self._clients) >= CLIENTS:
            self._let_one_go()
        self._clients[task] = None
        self._silent[task] = None
        try:
            # The peer may go, stall or talk nonsense at any point: it is let go, no more. So
            # is it when this task is cancelled, of which nobody waits for the outcome.
            with contextlib.suppress(
                OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError
            ):
                async with asyncio.timeout(PATIENCE_S):
                    head = await _read_head(reader)
                self._silent.pop(task, None)
                self._clients[task] = self._clients.pop(task)
                began = time.monotonic()
                found = await self._answer(head)
                self._on_answer(found.status, time.monotonic() - began)
                async with asyncio.timeout(PATIENCE_S):
                    writer.write(encode_answer(found))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._clients.pop(task, None)
            self._silent.pop(task, None)
            writer.transport.abort()

    def _let_one_go(self) -> None:
        """Ends the connection that has said nothing, or is being answered, for longest."""
        task = next(iter(self._silent or self._clients))
        self._silent.pop(task, None)
        del self._clients[task]
        task.cancel()

    async def _answer(self, head: bytes) -> Answer:
        if len(head) > HEAD_BYTES:
            return Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"request head too large\n")
        try:
            method, path, headers = decode_head(head)
        except ValueError as error:
            return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n".encode())
        if path != PATH:
            return Answer(HTTPStatus.NOT_FOUND, f"metrics are at {PATH}\n".encode())
        if method != "GET":
            allow = (("Allow", "GET"),)
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET is served\n", allow)
        try:
            async with self._turn:
                found = self._collect()
                return await asyncio.to_thread(render, found, headers)
        except Exception:
            # The boundary of the service: a collector with a bug must not end the program.
            log.exception("metrics not collected")
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"not collected; see the log\n")

    def _collect(self) -> list[Metric]:
        """What the collectors say, or said a moment ago."""
        if time.monotonic() - self._collected_at >= REST_S:
            self._collected = list(self._registry.collect())
            self._collected_at = time.monotonic()
        return self._collected


class _Collected:
    """What was collected, as the encoders take it."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def render(metrics: Iterable[Metric], headers: dict[str, str]) -> Answer:
    """Returns metrics in the format and encoding that a request's headers ask for."""
    try:
        encode, kind = choose_encoder(headers.get("accept", ""))
    except (TypeError, ValueError):
        # A version that is no version: as if none had been asked for.
        encode, kind = generate_latest, "text/plain; version=0.0.4; charset=utf-8"
    body = encode(_Collected(metrics))
    told = [("Content-Type", kind), ("Vary", "Accept, Accept-Encoding")]
    if gzip_accepted(headers.get("accept-encoding", "")):
        body = gzip.compress(body, _GZIP_LEVEL)
        told.append(("Content-Encoding", "gzip"))
    return Answer(HTTPStatus.OK, body, tuple(told))


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """Returns a request up to its empty line; one that is too long as one that is too long."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return b" " * (HEAD_BYTES + 1)


def decode_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Returns method, path (without its query) and headers (names in lower case) of a request.

    Raises:
        ValueError: It is no HTTP/1 request.

    >>> decode_head(b"GET /metrics?x=1 HTTP/1.1\\r\\nAccept: text/plain\\r\\n\\r\\n")
    ('GET', '/metrics', {'accept': 'text/plain'})
    """
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ValueError("not an HTTP/1 request")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a header has no colon")
        name = name.lower()
        # A field that comes twice is one list (RFC 9110, 5.3).
        headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
    return words[0], words[1].partition("?")[0], headers


def encode_answer(answer: Answer) -> bytes:
    """Returns an answer as HTTP/1.1; the connection ends with it."""
    headers = [
        *(answer.headers or (("Content-Type", "text/plain; charset=utf-8"),)),
        ("Content-Length", str(len(answer.body))),
        ("Connection", "close"),
    ]
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + answer.body


def parse_address(text: str) -> tuple[str | None, int]:
    """Returns host (None: all) and port of `HOST:PORT`.

    Raises:
        InvalidValue: It is not one.

    >>> parse_address(":9962"), parse_address("[::1]:9965")
    ((None, 9962), ('::1', 9965))
    """
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 1 << 16
    if not colon or not is_port or (":" in host and not is_bracketed):
        raise InvalidValue(f"address {text!r}: write HOST:PORT, as :9962 or [::1]:9962")
    return (host[1:-1] if is_bracketed else host) or None, int(port)
