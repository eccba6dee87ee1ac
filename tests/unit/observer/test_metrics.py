"""What the observer shows to scrapers: all parts, over HTTP."""

import asyncio
import json
from http import HTTPStatus
from pathlib import Path

import pytest

from cilia.hubble.store import FlowStore
from cilia.hubble.totals import Totals
from cilia.observer.metrics import AgentPods, Scrapes, metrics_services
from cilia.observer.program import texts
from cilia.observer.settings import ObserverSettings
from cilia.runtime import exposition
from cilia.runtime.exposition import MetricsServer
from cilia.runtime.settings import SettingsError
from unit.hubble.made_records import RECORD, KnownNames, records

HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def settings(**values: str) -> ObserverSettings:
    on = {"hubble_metrics_server": "127.0.0.1:0", "hubble_metrics": "flow:sourceContext=pod"}
    return ObserverSettings(**(on | values))  # type: ignore[arg-type]  # fields by name


def test_metrics_are_off_unless_they_have_an_address() -> None:
    store = FlowStore(RECORD, 8)
    off = settings(hubble_metrics_server="")
    assert metrics_services(off, store, KnownNames(), Totals(), "n", Path("a")) == ()


def test_a_list_with_a_mistake_is_refused_by_the_name_of_its_setting() -> None:
    wrong = settings(hubble_metrics="dorp")
    with pytest.raises(SettingsError, match="setting hubble-metrics: metric 'dorp' is unknown"):
        metrics_services(wrong, FlowStore(RECORD, 8), KnownNames(), Totals(), "n", Path("a"))


def test_what_ends_the_observer_is_told_once() -> None:
    error = SettingsError("it is so")
    group = BaseExceptionGroup("", [error, ExceptionGroup("", [error, SettingsError("or so")])])
    assert set(texts(group)) == {"it is so", "or so"}


def test_a_scrape_shows_flows_losses_and_the_scrapes_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exposition, "REST_S", 0.0)
    store = FlowStore(RECORD, 8)
    store.add(records(3), 0)
    store.parties.join(KnownNames())
    store.show(3)
    made = metrics_services(settings(), store, KnownNames(), Totals(), "n", Path("a"))
    store.add(records(2), 0)
    store.show(5)

    async def scrape(port: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        text = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return text

    async def run() -> tuple[str, str]:
        server = made[1]
        assert isinstance(server, MetricsServer)
        ready = [asyncio.Event() for _ in made]
        pairs = zip(made, ready, strict=True)
        tasks = [asyncio.create_task(one.run(event)) for one, event in pairs]
        async with asyncio.timeout(30):
            for event in ready:
                await event.wait()
            found = await scrape(server.port), await scrape(server.port)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return found

    first, second = asyncio.run(run())
    assert 'source="default/xwing"' in first
    (line,) = [one for one in first.splitlines() if one.startswith("hubble_flows_processed_total{")]
    assert line.endswith(" 2.0"), "flows from before it was turned on do not count"
    assert 'hubble_lost_events_total{source="perf_event_ring_buffer"} 0.0' in first
    assert 'hubble_metrics_http_handler_requests_total{code="200"} 1.0' in second
    assert 'hubble_metrics_http_handler_request_duration_seconds_count{code="200"} 1.0' in second


def test_answers_to_scrapers_are_counted_by_code() -> None:
    scrapes = Scrapes()
    for status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.OK):
        scrapes.note(status, 0.25)
    answers, durations = scrapes.collect()
    assert {one.labels["code"]: one.value for one in answers.samples} == {"200": 2, "404": 1}
    sums = {one.labels["code"]: one.value for one in durations.samples if one.name.endswith("_sum")}
    assert sums == {"200": 0.5, "404": 0.25}


ENDPOINTS = [{"status": {"external-identifiers": {"pod-name": "ns/here"}}}, {"status": {}}]
ADDRESSES = [
    {"cidr": "10.0.0.1/32", "metadata": {"namespace": "ns", "name": "there"}},
    {"cidr": "0.0.0.0/0", "metadata": None},
]


@pytest.mark.parametrize(
    ("answers", "among", "found"),
    [
        ({"/v1/endpoint": ENDPOINTS, "/v1/ip": ADDRESSES}, {"ns/there"}, {"ns/here", "ns/there"}),
        ({"/v1/endpoint": ENDPOINTS}, {"ns/here"}, {"ns/here"}),
        ({"/v1/endpoint": ENDPOINTS}, {"ns/there"}, None),
        ({"/v1/ip": ADDRESSES}, {"ns/there"}, None),
    ],
)
def test_pods_live_here_or_elsewhere_and_nobody_can_tell_without_an_agent(
    tmp_path: Path, answers: dict[str, object], among: set[str], found: set[str] | None
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        body = json.dumps(answers.get(target)).encode()
        status = b"200 OK" if target in answers else b"500 No"
        writer.write(b"HTTP/1.0 " + status + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async def run() -> set[str] | None:
        server = await asyncio.start_unix_server(serve, str(tmp_path / "agent"))
        async with server:
            pods = await AgentPods(tmp_path / "agent").living(among)
        return None if pods is None else set(pods) - {""}

    assert asyncio.run(run()) == found
