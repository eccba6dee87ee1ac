"""Logs as they run: reloaded, kept from writing, killed and begun again."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cilia.hubble.export import follower, service
from cilia.hubble.export.config import ExportConfigError, ExportLog
from cilia.hubble.export.service import Exporter, LogStatus
from cilia.hubble.export.source import Feed
from unit.hubble.export.made_export import MadeIntake, add, events, feed_of, told

DEADLINE_S = 60


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "PAUSE_S", 0.001)
    monkeypatch.setattr(follower, "RETRY_S", 0.001)
    monkeypatch.setattr(service, "LOOK_S", 0.001)


class Run:
    """An exporter and the folder it writes to."""

    def __init__(self, folder: Path, feed: Feed, static: bool = True, before: int = 0) -> None:
        self.feed = feed
        self.log = folder / "static.log"
        self.yaml = folder / "logs.yaml"
        one = ExportLog(name="static", file_path=str(self.log)) if static else None
        intake = MadeIntake(feed.scene.store, before)
        self.told = folder / "status.json"
        self.exporter = Exporter(feed, intake, one, self.yaml, folder / "run", self.told)

    def while_running(self, act: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            ready = asyncio.Event()
            async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
                running = group.create_task(self.exporter.run(ready))
                await ready.wait()
                await act()
                running.cancel()

        asyncio.run(run())

    def status(self, name: str) -> LogStatus:
        return next(one for one in self.exporter.status().logs if one.name == name)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.001)

    async def caught_up(self, name: str = "static") -> None:
        await self.until(lambda: self.status(name).backlog == 0)


def test_what_is_there_and_what_comes(tmp_path: Path) -> None:
    feed = feed_of()
    add(feed, 30)
    run = Run(tmp_path, feed)

    async def act() -> None:
        await run.caught_up()
        add(feed, 30)
        await run.caught_up()
        add(feed, 5)  # written when it stops

    run.while_running(act)
    assert told(run.log) == list(range(65))
    status = run.status("static")
    assert (status.counts.events, status.counts.lines, status.counts.lost) == (65, 65, 0)
    assert status.counts.bytes == run.log.stat().st_size
    assert run.told.stat().st_mode & 0o777 == 0o600
    assert status.error == ""


def test_logs_come_change_and_go_without_a_restart(tmp_path: Path) -> None:
    feed = feed_of()
    run = Run(tmp_path, feed)
    drops, all_ = tmp_path / "drops.log", tmp_path / "all.log"
    line = f"flowLogs: [{{name: drops, filePath: {drops}, includeFilters: [{{verdict: [%s]}}]}}%s]"
    more = f", {{name: all, filePath: {all_}}}"

    async def act() -> None:
        add(feed, 10)
        await run.caught_up()
        run.yaml.write_text(line % ("DROPPED", ""))
        await run.until(lambda: len(run.exporter.status().logs) == 2)
        add(feed, 5, type=1, subtype=133)
        add(feed, 5)
        await run.caught_up("drops")
        run.yaml.write_text("flowLogs: nonsense")
        await run.until(lambda: "logs.yaml: Expected `array`" in run.exporter.status().error)
        add(feed, 5, type=1, subtype=133)
        await run.caught_up("drops")
        reloads = run.exporter.status().reloads
        run.yaml.write_text(line % ("FORWARDED", more))
        run.exporter.reload()
        await run.until(lambda: run.exporter.status().reloads > reloads)
        assert run.exporter.status().error == ""
        add(feed, 5)
        await run.caught_up("drops")
        await run.caught_up("all")
        run.yaml.unlink()
        await run.until(lambda: "No such file" in run.exporter.status().error)
        run.yaml.write_text("")
        await run.until(lambda: len(run.exporter.status().logs) == 1)
        add(feed, 5)
        await run.caught_up()

    run.while_running(act)
    assert told(run.log) == list(range(35))
    assert told(drops) == [*range(10, 15), *range(20, 25), *range(25, 30)]
    assert told(all_) == list(range(25, 30))


def test_who_cannot_write_tries_again_and_loses_nothing(tmp_path: Path) -> None:
    feed = feed_of()
    run = Run(tmp_path, feed, static=False)
    blocked, good = tmp_path / "blocked", tmp_path / "good.log"
    blocked.write_text("a file where a folder should be")
    run.yaml.write_text(
        f"flowLogs: [{{name: bad, filePath: {blocked}/x.log}}, {{name: good, filePath: {good}}}]"
    )

    async def act() -> None:
        add(feed, 20)
        await run.caught_up("good")
        await run.until(lambda: run.status("bad").counts.failures > 2)
        assert "blocked/x.log: " in run.status("bad").error
        assert run.status("bad").backlog == 20
        assert run.status("good").error == ""
        await run.until(lambda: b"blocked/x.log" in run.told.read_bytes())
        blocked.unlink()
        await run.caught_up("bad")
        assert run.status("bad").error == ""

    run.while_running(act)
    assert told(blocked / "x.log") == list(range(20))


def test_what_nobody_wrote_between_two_observers_is_told(tmp_path: Path) -> None:
    feed = feed_of()
    run = Run(tmp_path, feed)

    async def act() -> None:
        add(feed, 10)
        await run.caught_up()

    run.while_running(act)
    with run.log.open("ab") as end:
        end.write(b'{"flow":{"time":"19')  # a kill in the middle of a line
    fresh = feed_of()
    after = Run(tmp_path, fresh, before=10 + 7)
    add(fresh, 3)
    after.while_running(after.caught_up)
    lines = events(after.log)
    assert told(after.log) == [*range(10), "OBSERVER_EVENTS_QUEUE:7", 0, 1, 2]
    assert lines[10]["node_name"] == "node-1"
    assert lines[10]["lost_events"]["first"] < lines[10]["lost_events"]["last"]
    assert after.status("static").torn_bytes == 19
    assert after.status("static").counts.lost == 7


def test_observers_that_take_over_cleanly_leave_no_gap(tmp_path: Path) -> None:
    for before in (0, 4):
        feed = feed_of()
        run = Run(tmp_path, feed, before=before)
        add(feed, 4)
        run.while_running(run.caught_up)
    assert told(run.log) == [0, 1, 2, 3] * 2


def test_a_gap_of_unknown_size_is_a_gap(tmp_path: Path) -> None:
    feed = feed_of()
    (tmp_path / "static.log").write_bytes(b'{"flow":{"l4":{"TCP":{}}}}\n')
    run = Run(tmp_path, feed)
    add(feed, 1)
    run.while_running(run.caught_up)
    assert told(run.log) == [0, "unknown:0", 0]


def test_after_its_end_nothing_is_written(tmp_path: Path) -> None:
    feed = feed_of()
    run = Run(tmp_path, feed, static=False)
    ended, other = tmp_path / "ended.log", tmp_path / "other.log"
    run.yaml.write_text(
        f"flowLogs: [{{name: ended, filePath: {ended}, end: '2001-01-01T00:00:00Z'}},"
        f"{{name: other, filePath: {other}}}]"
    )
    add(feed, 3)
    run.while_running(lambda: run.caught_up("other"))
    assert told(other) == [0, 1, 2]
    assert not ended.exists()


def test_a_static_log_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    feed = feed_of()
    for wrong in (
        ExportLog(name="static", file_path="relative.log"),
        ExportLog(name="static", file_path="/x", include_filters=({"source_ip": ["x"]},)),
    ):
        with pytest.raises(ExportConfigError, match="flow log 'static'"):
            Exporter(feed, MadeIntake(feed.scene.store), wrong, None, tmp_path, tmp_path / "told")


def test_a_filter_that_proves_too_dear_stops_its_log_alone(tmp_path: Path) -> None:
    feed = feed_of()
    run = Run(tmp_path, feed)
    ones = "[" + ",".join("1" for _ in range(200)) + "]"
    dear = f"{ones}.all(a, {ones}.all(b, a > 0))"
    run.yaml.write_text(
        f"flowLogs: [{{name: dear, filePath: {tmp_path}/dear.log,"
        f" includeFilters: [{{experimental: {{cel_expression: ['{dear}']}}}}]}}]"
    )

    async def act() -> None:
        add(feed, 3)
        await run.caught_up()
        await run.until(lambda: "Iteration budget" in run.status("dear").error)

    run.while_running(act)
    assert told(run.log) == [0, 1, 2]
