"""Name server and page over real sockets of this machine's loopback."""

import asyncio
import socket
import struct

import pytest
from dnslib import RCODE, RR, A, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.lab.nameserver import NameServer
from cilia.lab.page import Asked, serve_pages


def free_port() -> int:
    """A port that is free for UDP and TCP."""
    while True:
        with (
            socket.socket() as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            stream.bind(("127.0.0.1", 0))
            try:
                datagrams.bind(stream.getsockname())
            except OSError:
                continue
            return int(stream.getsockname()[1])


async def resolve(query: DNSRecord, over_tcp: bool) -> DNSRecord:
    """`many…` has 100 addresses, `lost…` cannot be resolved, the rest has one."""
    name = str(query.q.qname)
    if name.startswith("lost"):
        raise TimeoutError
    reply = query.reply()
    for number in range(100 if name.startswith("many") else 1):
        reply.add_answer(RR(name, rdata=A(f"192.0.2.{number}")))
    return reply


async def over_udp(port: int, data: bytes) -> DNSRecord:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", port))
        await loop.sock_sendall(client, data)
        async with asyncio.timeout(10):
            return DNSRecord.parse(await loop.sock_recv(client, 65535))


async def over_tcp(port: int, *queries: bytes) -> list[DNSRecord]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(struct.pack("!H", len(query)) + query for query in queries))
    answers = []
    async with asyncio.timeout(10):
        for _ in queries:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answers.append(DNSRecord.parse(await reader.readexactly(length)))
    writer.close()
    await writer.wait_closed()
    return answers


def test_a_long_answer_comes_whole_over_tcp_and_cut_over_udp() -> None:
    async def scenario() -> None:
        port, server = free_port(), NameServer(resolve)
        await server.listen("127.0.0.1", port)
        query = DNSRecord.question("many.example").pack()
        short = await over_udp(port, query)
        first, second = await over_tcp(port, query, DNSRecord.question("one.example").pack())
        await server.close()
        assert (short.header.tc, first.header.tc) == (1, 0)
        assert (len(first.rr), len(second.rr)) == (100, 1)

    asyncio.run(scenario())


def test_what_cannot_be_resolved_is_a_server_failure() -> None:
    async def scenario() -> None:
        port, server = free_port(), NameServer(resolve)
        await server.listen("127.0.0.1", port)
        answer = await over_udp(port, DNSRecord.question("lost.example").pack())
        await server.close()
        assert RCODE[answer.header.rcode] == "SERVFAIL"

    asyncio.run(scenario())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_nonsense_is_ignored_and_the_next_query_answered(nonsense: list[bytes]) -> None:
    async def scenario() -> None:
        port, server = free_port(), NameServer(resolve)
        await server.listen("127.0.0.1", port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for data in nonsense:
                client.sendto(data, ("127.0.0.1", port))
        answer = await over_udp(port, DNSRecord.question("one.example").pack())
        await server.close()
        assert len(answer.rr) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /here HTTP/1.1\r\nHost: me\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"POST /here HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 200 OK"),
        (b"nonsense\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b""),
    ],
)
def test_a_page_for_whoever_asks_properly(request_: bytes, status: bytes) -> None:
    def respond(asked: Asked) -> tuple[int, str]:
        return 200, f"{asked.method} {asked.path} {asked.peer}"

    async def scenario() -> None:
        server = await serve_pages(respond, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request_)
        writer.write_eof()
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        assert answer.startswith(status)
        if status:
            assert answer.endswith(b"/here 127.0.0.1")
        else:
            assert answer == b""

    asyncio.run(scenario())
