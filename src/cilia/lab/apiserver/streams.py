"""Byte streams under SPDY: a connection taken over after 101, or a WebSocket tunnel."""

import asyncio
from typing import Protocol

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

_HIGH_WATER_BYTES = 1 << 20


class ByteStream(Protocol):
    """A connection in both directions."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""

    async def write(self, raw: bytes) -> None:
        """Sends bytes, and waits while the peer is slow."""

    async def close(self) -> None:
        """Ends the connection."""


class TakenOver(asyncio.Protocol):
    """A connection on which HTTP is over."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._received = bytearray()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = False
        transport.set_protocol(self)
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._received += data
        if len(self._received) > _HIGH_WATER_BYTES:
            self._transport.pause_reading()
        self._readable.set()

    def eof_received(self) -> bool:
        """Called by the event loop; the connection closes."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._ended = True
        self._readable.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self._writable.set()

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        await self._readable.wait()
        raw = bytes(self._received)
        self._received.clear()
        if not self._ended:
            self._readable.clear()
            self._transport.resume_reading()
        return raw

    async def write(self, raw: bytes) -> None:
        """Sends bytes, and waits while the peer is slow."""
        await self._writable.wait()
        if not self._ended:
            self._transport.write(raw)

    async def close(self) -> None:
        """Sends what waits, and ends the connection."""
        self._transport.close()


class Tunnel:
    """A connection inside a WebSocket's binary messages."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        async for message in self._socket:
            if message.type is WSMsgType.BINARY and message.data:
                return bytes(message.data)
        return b""

    async def write(self, raw: bytes) -> None:
        """Sends bytes, and waits while the peer is slow."""
        await self._socket.send_bytes(raw)

    async def close(self) -> None:
        """Ends the connection."""
        await self._socket.close()


class Upgraded(web.Response):
    """The answer of a request whose connection was taken over: nothing more to send."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Sends nothing."""
        self.force_close()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Sends nothing."""


def take_over(request: web.BaseRequest, protocol: str, stream_protocol: str) -> TakenOver:
    """Answers 101 and takes the connection.

    Args:
        request: A request that asks for an upgrade.
        protocol: What the connection becomes, such as `SPDY/3.1`.
        stream_protocol: Which of the client's stream protocols is spoken.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    # Nothing may reach the HTTP parser once the client reads our 101.
    taken = TakenOver(transport)
    transport.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
        f"Upgrade: {protocol}\r\nX-Stream-Protocol-Version: {stream_protocol}\r\n\r\n".encode()
    )
    return taken
