"""DNS over UDP and TCP: bytes in, bytes out; what they mean is the caller's business.

Source: RFC 1035 §4.2, RFC 6891 (EDNS), RFC 7766 (TCP).
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

from dnslib import RCODE, DNSError, DNSRecord

from cilia.lab.zone import fitting

log = logging.getLogger(__name__)

Resolve = Callable[[DNSRecord, bool], Awaitable[DNSRecord]]
"""The answer to a query; the flag says whether it came over TCP."""

PLAIN_BYTES = 512
LONGEST_BYTES = 65535
IDLE_S = 10.0
MAX_PENDING = 1000


class NameServer:
    """Answers on a number of addresses until it is closed."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._datagrams: list[_Datagrams] = []
        self._streams: list[asyncio.Server] = []
        self._pending: set[asyncio.Task[None]] = set()

    async def listen(self, address: str, port: int) -> None:
        """Answers on one address, UDP and TCP.

        Raises:
            OSError: The address is not ours, or the port is taken.
        """
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            listener = _bound(family, kind, address, port)
            if kind == socket.SOCK_DGRAM:
                _, protocol = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), sock=listener
                )
                self._datagrams.append(protocol)
            else:
                self._streams.append(await asyncio.start_server(self._serve, sock=listener))

    async def close(self) -> None:
        """Stops answering, and waits until the sockets are closed."""
        for server in self._streams:
            server.close()
            await server.wait_closed()
        for protocol in self._datagrams:
            await protocol.close()

    def take(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        """Answers one datagram in its own time; beyond a limit, queries are dropped."""
        if len(self._pending) < MAX_PENDING:
            task = asyncio.create_task(self._answer(data, reply))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def _answer(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        if answer := await self._resolved(data, over_tcp=False):
            reply(answer)

    async def _resolved(self, data: bytes, *, over_tcp: bool) -> bytes | None:
        """The answer to a query as bytes; None for what is no query."""
        try:
            query = DNSRecord.parse(data)
            if query.header.qr or len(query.questions) != 1:
                return None
        except (DNSError, UnicodeError, ValueError):
            return None
        try:
            answer = await self._resolve(query, over_tcp)
        except (OSError, TimeoutError, DNSError) as error:
            log.warning("no answer", extra={"query": str(query.q.qname), "error": repr(error)})
            answer = query.reply()
            answer.header.rcode = RCODE.SERVFAIL
        return fitting(answer, LONGEST_BYTES if over_tcp else datagram_limit(query))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            while True:
                async with asyncio.timeout(IDLE_S):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    data = await reader.readexactly(length)
                answer = await self._resolved(data, over_tcp=True)
                if answer is None:
                    break
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        writer.close()


def datagram_limit(query: DNSRecord) -> int:
    """How many bytes the asker takes in one datagram: what EDNS says, else 512."""
    sizes = [record.rclass for record in query.ar if record.rtype == 41]
    return max(PLAIN_BYTES, *sizes, 0) if sizes else PLAIN_BYTES


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are datagram transports in all but their class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._closed.set()

    async def close(self) -> None:
        """Closes the socket."""
        self._transport.close()
        await self._closed.wait()

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self._server.take(data, lambda answer: self._transport.sendto(answer, peer))


def _bound(
    family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int
) -> socket.socket:
    made = socket.socket(family, kind)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


async def ask(data: bytes, server: str, *, over_tcp: bool, timeout_s: float) -> bytes:
    """What a name server answers to a query.

    Raises:
        OSError: It cannot be reached.
        TimeoutError: It does not answer in time.
    """
    async with asyncio.timeout(timeout_s):
        return await (_ask_stream if over_tcp else _ask_datagram)(data, server)


async def _ask_stream(data: bytes, server: str) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack("!H", len(data)) + data)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)
    except EOFError as error:
        raise OSError(f"name server {server} closed the connection") from error
    finally:
        writer.close()


async def _ask_datagram(data: bytes, server: str) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.connect((server, 53))
        await loop.sock_sendall(channel, data)
        while True:
            answer = await loop.sock_recv(channel, LONGEST_BYTES)
            if answer[:2] == data[:2]:
                return answer
