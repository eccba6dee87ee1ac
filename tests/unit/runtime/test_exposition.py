"""Metrics over HTTP: formats, encodings, and what a stranger may send."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from cilia.model.errors import InvalidValue
from cilia.runtime import exposition
from cilia.runtime.exposition import MetricsServer, decode_head, parse_address

OPEN = "application/openmetrics-text;version=1.0.0"
DEADLINE_S = 20.0


def registry() -> CollectorRegistry:
    """One of each kind, with a label that needs care."""
    found = CollectorRegistry()
    drops = Counter("drops", "Dropped.", ["reason"], registry=found)
    drops.labels('a "quoted"\nline \\ and ü').inc(3)
    Histogram("delay_seconds", "Delay.", registry=found).observe(0.2)
    return found


@asynccontextmanager
async def serving(server: MetricsServer) -> AsyncIterator[int]:
    ready = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        task = group.create_task(server.run(ready))
        await ready.wait()
        yield server.port
        task.cancel()


@asynccontextmanager
async def connection(port: int, text: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
    """A client that has sent some text."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server ends it; nothing when it just cuts the connection."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one exchange; status 0: the connection was just closed."""
    async with connection(port, request) as reader:
        answer = await read_all(reader)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return 0, {}, b""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers, body


def get(path: str = "/metrics", method: str = "GET", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", *lines, "", ""]).encode()


def exchange(*requests: bytes, shown: object = None) -> list[tuple[int, dict[str, str], bytes]]:
    async def run() -> list[tuple[int, dict[str, str], bytes]]:
        server = MetricsServer("127.0.0.1:0", shown or registry())  # type: ignore[arg-type]  # a stand-in with the same methods
        async with serving(server) as port:
            return [await ask(port, request) for request in requests]

    return asyncio.run(run())


def test_both_formats_are_served_and_parse() -> None:
    plain, opened = exchange(get(), get(Accept=OPEN))
    assert plain[0] == opened[0] == 200
    assert plain[1]["content-type"].startswith("text/plain; version=0.0.4")
    assert opened[1]["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened[2].endswith(b"# EOF\n")
    for families in (list(prometheus(plain[2].decode())), list(open_metrics(opened[2].decode()))):
        (drops,) = [family for family in families if family.name == "drops"]
        values = {s.labels["reason"]: s.value for s in drops.samples if s.name == "drops_total"}
        assert values == {'a "quoted"\nline \\ and ü': 3}


def test_gzip_is_used_when_it_is_asked_for() -> None:
    plain, packed = exchange(get(), get(Accept_Encoding="br, gzip;q=1.0"))
    assert "content-encoding" not in plain[1]
    assert packed[1]["content-encoding"] == "gzip"
    assert int(packed[1]["content-length"]) == len(packed[2])
    assert b"drops_total" in gzip.decompress(packed[2])


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get(method="POST"), 405),
        (get(method="HEAD"), 405),
        (get("/"), 404),
        (get("/metrics/../secret"), 404),
        (get("/metrics?name[]=x"), 200),
        (get(Accept="application/openmetrics-text;version=x.y"), 200),
        (get(Accept=OPEN + ";escaping=\xff"), 200),
        (b"\x16\x03\x01 hello tls\r\n\r\n", 400),
        (b"GET /metrics SPDY/1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nx: " + b"a" * 20_000, 431),
        (b"GET /metrics HTTP/1.1\r\nx: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_not_a_scrape_is_refused_and_the_next_is_served(
    request_: bytes, status: int
) -> None:
    first, second = exchange(request_, get())
    # A peer that is still sending when it is refused may see its connection reset.
    assert first[0] == status or (status == 431 and first[0] == 0)
    assert second[0] == 200


class Broken:
    """A collector that fails the first time."""

    def __init__(self) -> None:
        self.calls = 0

    def collect(self) -> Iterable[Metric]:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("a bug")
        return [GaugeMetricFamily("up", "Up.", value=1)]


def test_a_collector_that_fails_costs_one_scrape(caplog: pytest.LogCaptureFixture) -> None:
    first, second = exchange(get(), get(), shown=Broken())
    assert (first[0], second[0]) == (500, 200)
    assert b"a bug" not in first[2]
    assert "metrics not collected" in caplog.text


def in_time(work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await work()

    asyncio.run(run())


def test_clients_that_say_nothing_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "PATIENCE_S", 0.05)

    async def work() -> None:
        async with (
            serving(MetricsServer("127.0.0.1:0", registry())) as port,
            connection(port, b"GET /metrics HTTP/1.1\r\n") as reader,
        ):
            assert await read_all(reader) == b""

    in_time(work)


def test_a_scraper_is_served_though_others_hold_every_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exposition, "CLIENTS", 2)

    async def work() -> None:
        async with (
            serving(MetricsServer("127.0.0.1:0", registry())) as port,
            connection(port) as first,
            connection(port, b"GET /met"),
        ):
            for _ in range(3):
                assert (await ask(port, get()))[0] == 200
            assert await read_all(first) == b"", "who came first and said nothing has gone"

    in_time(work)
    assert not caplog.records


def test_beyond_its_places_who_is_answered_for_longest_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exposition, "CLIENTS", 2)

    async def work() -> None:
        server = MetricsServer("127.0.0.1:0", registry())

        async def asked(count: int) -> None:
            while server._silent or len(server._clients) != count:
                await asyncio.sleep(0)

        async with (
            serving(server) as port,
            server._turn,  # nobody is answered meanwhile
            connection(port, get()) as first,
        ):
            await asked(1)
            async with connection(port, get()) as second:
                await asked(2)
                async with connection(port, get()) as third:
                    assert await read_all(first) == b"", "first has gone"
                    await asked(2)
                    server._turn.release()
                    for one in (second, third):
                        assert (await read_all(one)).startswith(b"HTTP/1.1 200")
                    await server._turn.acquire()

    in_time(work)


class Counting:
    """A collector that says how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def collect(self) -> Iterable[Metric]:
        self.calls += 1
        return [GaugeMetricFamily("calls", "Calls.", value=self.calls)]


@pytest.mark.parametrize(("rest_s", "calls"), [(3600.0, 1), (0.0, 3)])
def test_collectors_rest_between_requests(
    monkeypatch: pytest.MonkeyPatch, rest_s: float, calls: int
) -> None:
    monkeypatch.setattr(exposition, "REST_S", rest_s)
    shown = Counting()
    answers = exchange(get(), get(Accept=OPEN), get(), shown=shown)
    assert [one[0] for one in answers] == [200, 200, 200]
    assert shown.calls == calls
    assert f"calls {calls}.0".encode() in answers[-1][2]


def test_it_stops_at_once_with_a_client_that_hangs() -> None:
    async def work() -> None:
        async with serving(MetricsServer("127.0.0.1:0", registry())) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await ask(port, get()))[0] == 200
        assert await read_all(reader) == b""
        writer.close()

    in_time(work)


def test_an_address_that_is_taken_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exposition, "RETRY_S", 0.01)

    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = MetricsServer(f"127.0.0.1:{port}", registry())
            async with serving(server):
                assert server.port == 0
                taken.close()
                while server.port == 0:
                    await asyncio.sleep(0.01)
                assert (await ask(port, get()))[0] == 200

    in_time(work)
    assert caplog.text.count("metrics are not served") == 1


@pytest.mark.parametrize("text", ["", "9962", ":", ":x", ":65536", "::1:80", ":-1", ":٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="HOST:PORT"):
        parse_address(text)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_value_error(head: bytes) -> None:
    try:
        method, path, headers = decode_head(head + b"\r\n\r\n")
    except ValueError:
        return
    assert "?" not in path
    assert all(isinstance(one, str) for one in (method, path, *headers, *headers.values()))
