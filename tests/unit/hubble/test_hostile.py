"""What clients must not be able to do to an observer."""

import asyncio
import contextlib
import os
import re
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.hubble.filters.labels import parse_selector
from cilia.hubble.filters.patterns import name_pattern, regular
from cilia.hubble.filters.terms import InvalidFilterError
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.server.limits import (
    LONGEST_TEXT,
    MOST_EXPRESSIONS,
    MOST_VALUES,
    InvalidRequestError,
    check_limits,
)
from cilia.hubble.store import FlowStore
from unit.hubble.made_servers import DEADLINE_S, add_flows, observer, store_of

IDLE_CLIENTS = 1000
PAGE = os.sysconf("SC_PAGE_SIZE")
Talk = Callable[[grpc.aio.Channel, Path], Awaitable[None]]


def serving(folder: Path, store: FlowStore, talk: Talk) -> None:
    """Serves `store`; whatever was done to it, it must answer afterwards."""

    async def run() -> None:
        path = folder / "hubble.sock"
        async with asyncio.timeout(DEADLINE_S), observer(path, store):
            async with grpc.aio.insecure_channel(f"unix://{path}") as channel:
                await talk(channel, path)
            async with grpc.aio.insecure_channel(f"unix://{path}") as channel:
                status = await ObserverStub(channel).ServerStatus(
                    observer_pb2.ServerStatusRequest()
                )
                assert status.num_flows == len(store)

    asyncio.run(run())


def memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


METHODS = ("GetFlows", "GetAgentEvents", "GetDebugEvents", "GetNodes", "GetNamespaces", "Nonsense")


def test_random_bytes_are_refused_or_answered(tmp_path: Path) -> None:
    async def talk(channel: grpc.aio.Channel, path: Path) -> None:
        for number in range(300):
            method = METHODS[number % len(METHODS)]
            content = os.urandom(number % 97)
            call = channel.unary_stream(f"/observer.Observer/{method}")(content)
            with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
                async with asyncio.timeout(0.05):  # random bytes may well ask to follow
                    while await call.read() is not grpc.aio.EOF:
                        pass
            call.cancel()

    serving(tmp_path, store_of(*range(60)), talk)


def test_unknown_methods_and_services_are_unimplemented(tmp_path: Path) -> None:
    async def talk(channel: grpc.aio.Channel, path: Path) -> None:
        for method in ("/observer.Observer/Nothing", "/no.Such/Thing", "/"):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary(method)(b"")
            assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED

    serving(tmp_path, store_of(1), talk)


def test_giant_requests_are_refused_by_their_code(tmp_path: Path) -> None:
    many = [flow_pb2.FlowFilter()] * (MOST_VALUES + 1)
    long = [flow_pb2.FlowFilter(source_label=["," * (LONGEST_TEXT + 1)])]
    wide = [flow_pb2.FlowFilter(source_ip=["10.0.0.1"] * (MOST_VALUES + 1))]
    huge = [flow_pb2.FlowFilter(source_pod=["x" * (2 << 20)])]

    async def talk(channel: grpc.aio.Channel, path: Path) -> None:
        for filters, code in (
            (many, grpc.StatusCode.INVALID_ARGUMENT),
            (long, grpc.StatusCode.INVALID_ARGUMENT),
            (wide, grpc.StatusCode.INVALID_ARGUMENT),
            (huge, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ):
            request = observer_pb2.GetFlowsRequest(blacklist=filters)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await ObserverStub(channel).GetFlows(request).read()
            assert error.value.code() == code

    serving(tmp_path, store_of(1), talk)


def test_as_many_values_as_may_be_are_searched(tmp_path: Path) -> None:
    """While another client gets its answer too."""
    half = MOST_VALUES // 2
    filters = [
        flow_pb2.FlowFilter(source_ip=[f"10.9.{n // 256}.{n % 256}/32"]) for n in range(half)
    ]
    filters += [flow_pb2.FlowFilter(source_label=[f"k{n} in (a,b)"]) for n in range(half)]
    request = observer_pb2.GetFlowsRequest(whitelist=filters)
    assert check_limits(request) == MOST_VALUES

    async def talk(channel: grpc.aio.Channel, path: Path) -> None:
        stub = ObserverStub(channel)
        heavy = stub.GetFlows(request)
        light = [one async for one in stub.GetFlows(observer_pb2.GetFlowsRequest(number=3))]
        assert len(light) == 3
        assert [one async for one in heavy] == []

    serving(tmp_path, store_of(*range(4000), capacity=4096), talk)


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    """Both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8 * IDLE_CLIENTS)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("said", [b"", b"PRI * HT", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))])
def test_connections_that_say_little_cost_little(tmp_path: Path, said: bytes) -> None:
    """A thousand of them stay open, and another client is served."""

    async def talk(channel: grpc.aio.Channel, path: Path) -> None:
        before = memory()
        with contextlib.ExitStack() as held:
            for _ in range(IDLE_CLIENTS):
                client = held.enter_context(socket.socket(socket.AF_UNIX))
                await asyncio.to_thread(client.connect, str(path))
                with contextlib.suppress(ConnectionError):
                    client.sendall(said)
            found = [one async for one in ObserverStub(channel).GetFlows(_all())]
            assert len(found) == 3
            assert memory() - before < 256 << 20

    with many_files():
        serving(tmp_path, store_of(1, 2, 3), talk)


def _all() -> observer_pb2.GetFlowsRequest:
    return observer_pb2.GetFlowsRequest()


def test_a_client_that_never_reads_slows_nobody(tmp_path: Path) -> None:
    """The other gets every flow, though twice what the store holds goes by."""
    store = store_of(capacity=2048)
    total, batch = 5_000, 1000

    async def talk(channel: grpc.aio.Channel, path: Path) -> None:
        follow = observer_pb2.GetFlowsRequest(follow=True)
        # With its window as it begins: a client may offer more, and then it has that to keep.
        options = [("grpc.http2.bdp_probe", 0)]
        async with grpc.aio.insecure_channel(f"unix://{path}", options) as other:
            stuck = [ObserverStub(other).GetFlows(follow) for _ in range(5)]
            call = ObserverStub(channel).GetFlows(follow)
            while store.followers < 6:
                await asyncio.sleep(0.001)
            before, got = memory(), 0
            for begin in range(0, total, batch):
                add_flows(store, *range(begin, begin + batch))
                for _ in range(batch):
                    answer = await call.read()
                    assert answer.flow.time.nanos == got % 10**9
                    got += 1
            assert got == total
            assert memory() - before < 64 << 20
            for one in (*stuck, call):
                one.cancel()

    serving(tmp_path, store, talk)


names = st.text("ab.-_", max_size=12)


@given(st.text("ab.*_", min_size=1, max_size=8).filter(lambda text: text.strip(".")), names)
def test_patterns_match_as_their_meaning_says(pattern: str, name: str) -> None:
    told = pattern.rstrip(".")
    naive = "[-.0-9a-z]*".join(map(re.escape, told.split("*")))
    expected = re.fullmatch(naive, name) is not None
    assert (name_pattern("source_fqdn", pattern).fullmatch(name) is not None) == expected


def test_patterns_that_never_end_elsewhere_end_here() -> None:
    """Each of these takes a backtracking search longer than the universe has."""
    assert not name_pattern("source_fqdn", "*a" * 60 + "*b").fullmatch("a" * 5000 + "c")
    for evil in ("(a+)+$", "(a|aa)+$", "(.*a){40}b", "(x+x+)+y"):
        assert not regular("http_url", evil).search("a" * 20_000 + "x" * 20_000 + "!")


@pytest.mark.parametrize("wrong", ["(", "a{99999}", "(" * 4000, "((a{1000}){1000}){1000}", "(?=a)"])
def test_expressions_that_are_none_are_refused_in_few_words(wrong: str) -> None:
    with pytest.raises(InvalidFilterError) as error:
        regular("http_path", wrong)
    assert len(str(error.value)) < 300


@given(st.text("ab=!,() in", max_size=30))
def test_selectors_are_split_outside_of_parentheses(text: str) -> None:
    """As the look-ahead that this replaces: `,` unless `)` follows before any `(`."""
    naive = [part.strip() for part in re.split(r",(?![^(]*\))", text)]
    balanced = re.fullmatch(r"(?:[^()]|\([^()]*\))*", text)
    try:
        found = len(parse_selector("source_label", text))
    except InvalidFilterError:
        return
    if balanced:
        assert found == len(naive)


def test_limits_count_values_and_not_bytes() -> None:
    fine = flow_pb2.FlowFilter(
        verdict=[1, 2], source_pod=["a"], experimental={"cel_expression": []}
    )
    assert check_limits(observer_pb2.GetFlowsRequest(whitelist=[fine])) == 3
    with pytest.raises(InvalidRequestError, match="field_mask"):
        check_limits(observer_pb2.GetFlowsRequest(field_mask={"paths": ["time"] * 300}))


def test_expressions_are_values_and_few() -> None:
    def request(*counts: int) -> observer_pb2.GetFlowsRequest:
        made = observer_pb2.GetFlowsRequest()
        for count in counts:
            made.whitelist.add().experimental.cel_expression.extend(["true"] * count)
        return made

    assert check_limits(request(MOST_EXPRESSIONS)) == MOST_EXPRESSIONS
    with pytest.raises(InvalidRequestError, match="expressions"):
        check_limits(request(MOST_EXPRESSIONS, 1))
    with pytest.raises(InvalidRequestError, match="values"):
        check_limits(request(60_000))
