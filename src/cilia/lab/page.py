"""The smallest HTTP server that answers with one page: for probes and for the world.

Source: RFC 9112.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable

import msgspec

IDLE_S = 30.0
MAX_BODY_BYTES = 1 << 20


class Asked(msgspec.Struct, frozen=True):
    """One request."""

    method: str
    path: str
    host: str
    """The Host header."""
    peer: str
    """Address of the client, as it is seen here."""
    peer_port: int
    local: str
    """The address that the client reached."""


Respond = Callable[[Asked], tuple[int, str]]
"""Status and text of the answer to a request."""

_PHRASES = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


async def serve_pages(
    respond: Respond, host: str | None, port: int, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Starts to answer requests; the host None means every address of both families."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that goes away, stays silent or speaks nonsense concerns only itself.
        with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
            while await _serve_one(respond, reader, writer):
                pass
        writer.close()

    return await asyncio.start_server(serve, host, port, ssl=tls, backlog=1024)


async def _serve_one(
    respond: Respond, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Answers one request; False: the connection ends with it."""
    async with asyncio.timeout(IDLE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, version = first.split(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    length = min(int(headers.get("content-length", "0")), MAX_BODY_BYTES)
    await reader.readexactly(length)
    peer, local = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
    asked = Asked(method, path, headers.get("host", ""), peer[0], peer[1], local[0])
    status, text = respond(asked)
    keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    writer.write(_answer(status, text, keep, with_body=method != "HEAD"))
    await writer.drain()
    return keep


def _answer(status: int, text: str, keep: bool, *, with_body: bool) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
