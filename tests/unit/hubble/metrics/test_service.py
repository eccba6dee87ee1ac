"""The configuration as it changes, and the work that goes on beside."""

import asyncio
import logging
from collections.abc import Callable, Set
from pathlib import Path

import pytest

from cilia.hubble.metrics import service
from cilia.hubble.metrics.mortality import Mortality
from cilia.hubble.metrics.service import MetricsFile, MetricsService
from unit.hubble.made_records import records
from unit.hubble.metrics.counting import Made

DROP = "metrics:\n- name: drop\n"
BOTH = DROP + "- name: flow\n"
LABELLED = "metrics:\n- name: drop\n  contextOptions: [{name: sourceContext, values: [pod]}]\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.yaml"


def total(over: Made, name: str) -> int:
    return sum(over.shown(name).values())


def names(over: Made) -> set[str]:
    found = {metric.name for metric in over.metrics.collect()}
    return {name for name in found if not name.startswith(("hubble_metrics", "hubble_lost"))}


def test_a_change_is_applied_and_what_stays_the_same_goes_on_counting(path: Path) -> None:
    over, dropped = Made("tcp"), records(3, type=1, subtype=133)
    path.write_text(DROP)
    file = MetricsFile(path, over.metrics)
    file.look()
    assert names(over) == {"hubble_drop"}
    over.see(dropped)
    path.write_text(BOTH)
    file.look()
    over.see(dropped)
    assert total(over, "hubble_drop_total") == 6
    assert total(over, "hubble_flows_processed_total") == 3
    path.write_text(LABELLED)
    file.look()
    over.see(dropped)
    assert names(over) == {"hubble_drop"}
    assert total(over, "hubble_drop_total") == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("metrics: [", "not YAML"),
        ("metrics: [{name: dorp}]", "'dorp' is unknown; there are"),
        (
            "metrics: [{name: drop, excludeFilters: [{experimental: {cel_expression: ['true']}}]}]",
            "filter by fields",
        ),
        ("metrics: [{name: drop, includeFilters: [{source_ip: [x]}]}]", "source_ip"),
    ],
)
def test_a_mistake_is_told_once_and_changes_nothing(
    path: Path, text: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    over = Made("")
    path.write_text(DROP)
    file = MetricsFile(path, over.metrics)
    file.look()
    over.see(records(3, type=1, subtype=133))
    path.write_text(text)
    with caplog.at_level(logging.ERROR):
        file.look()
        file.look()
    (record,) = caplog.records
    problem = str(record.__dict__["problem"])
    assert problem.startswith(str(path))
    assert told in problem
    assert problem.endswith("what was configured before stays")
    assert not file.is_valid
    assert next(iter(file.collect())).samples[0].value == 0
    assert total(over, "hubble_drop_total") == 3
    path.write_text(DROP)
    file.look()
    assert file.is_valid
    assert total(over, "hubble_drop_total") == 3


def test_a_file_that_is_not_there_yet_leaves_the_list_in_force(path: Path) -> None:
    over = Made("tcp")
    file = MetricsFile(path, over.metrics)
    file.look()
    assert not file.is_valid
    assert names(over) == {"hubble_tcp_flags"}
    path.write_text(DROP)
    file.look()
    assert names(over) == {"hubble_drop"}
    path.unlink()
    file.look()
    assert names(over) == {"hubble_drop"}


class Pods:
    """Pods as somebody knows them; asked so many times."""

    def __init__(self, *answers: Set[str] | None) -> None:
        self.answers = list(answers)

    async def living(self, among: Set[str]) -> Set[str] | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COUNT_S", "WATCH_S", "TEND_S", "MOURN_S"):
        monkeypatch.setattr(service, name, 0.001)
    monkeypatch.setattr(service, "Mortality", lambda: Mortality(0.02))


@pytest.mark.usefixtures("hasty")
def test_the_service_counts_follows_the_file_and_ends_the_series_of_the_dead(path: Path) -> None:
    over = Made("flow:sourceContext=pod")
    pods = Pods(None, None, set())
    path.write_text(DROP)

    async def work() -> None:
        running = MetricsService(over.metrics, MetricsFile(path, over.metrics), pods)
        ready = asyncio.Event()
        task = asyncio.create_task(running.run(ready))
        await ready.wait()
        over.see(records(3, type=1, subtype=133))
        await until(lambda: over.metrics.counted == 3)
        assert names(over) == {"hubble_drop"}
        path.write_text(LABELLED)
        await until(lambda: not over.shown())
        over.see(records(3, type=1, subtype=133))
        await until(lambda: over.metrics.counted == 6)
        await until(lambda: not over.metrics.activity())
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(work())
    assert not over.shown()


def test_only_series_that_name_a_pod_end_with_it() -> None:
    over = Made("flow:sourceContext=pod;destinationContext=namespace")
    over.see(records(3))
    assert over.shown()
    assert over.metrics.activity() == {"default/xwing": 3}
    over.metrics.forget(frozenset({"default/deathstar-1"}))
    assert total(over, "hubble_flows_processed_total") == 3
    over.metrics.forget(frozenset({"default/xwing"}))
    assert not over.shown()
