"""All logs of a node: the one that settings describe, and those of a file that may change."""

import asyncio
import contextlib
import logging
from pathlib import Path

import msgspec

from cilia.hubble.export.config import ExportConfigError, ExportLog, check_logs, parse_flow_logs
from cilia.hubble.export.follower import Follower
from cilia.hubble.export.ledger import Intake
from cilia.hubble.export.source import Counts, Feed, check_filters
from cilia.runtime.files import open_private
from cilia.runtime.services import pause

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the file is looked at."""


class LogStatus(msgspec.Struct, frozen=True):
    """One log as it is now: plain numbers for metrics and `status`."""

    name: str
    path: str
    counts: Counts
    backlog: int
    """Flows that it has not dealt with yet."""
    rotations: int
    torn_bytes: int
    """Of lines that a crash had torn, cut off when the file was opened."""
    error: str
    """Why nothing is written at the moment; empty when all is well."""


class ExportStatus(msgspec.Struct, frozen=True):
    """All logs."""

    logs: tuple[LogStatus, ...]
    error: str
    """Why the file of logs is not followed; the last good one is."""
    reloads: int


class Exporter:
    """A Service: runs the logs.

    Args:
        feed: The flows.
        intake: What the rings gave.
        static: The log of the settings, if there is one.
        dynamic: The file of logs, if there is one; read again when it changes. It may come
            later.
        folder: Where marks are kept.
        status_file: Where the agent finds how the logs are.

    Raises:
        ExportConfigError: The static log cannot be followed.
    """

    name = "exporter"

    def __init__(
        self,
        feed: Feed,
        intake: Intake,
        static: ExportLog | None,
        dynamic: Path | None,
        folder: Path,
        status_file: Path,
    ) -> None:
        self._feed = feed
        self._intake = intake
        self._static = (static,) if static else ()
        self._dynamic = dynamic
        self._folder = folder
        self._status_file = status_file
        self._followers: dict[str, Follower] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._text: bytes | None = None
        self._error = ""
        self._reloads = 0
        self._look = asyncio.Event()
        self._told = b""
        check_logs(self._static)
        for one in self._static:
            check_filters(one, feed.scene)
            self._add(one, 0)

    def reload(self) -> None:
        """Looks at the file of logs now."""
        self._text = None
        self._look.set()

    def status(self) -> ExportStatus:
        """How every log is."""
        logs = tuple(
            LogStatus(
                name=name,
                path=one.wanted.file_path,
                counts=one.counts,
                backlog=one.backlog,
                rotations=one.sink.rotations,
                torn_bytes=one.sink.torn,
                error=one.error,
            )
            for name, one in sorted(self._followers.items())
        )
        return ExportStatus(logs, self._error, self._reloads)

    async def run(self, ready: asyncio.Event) -> None:
        """Writes until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._followers:
                self._start(group, name)
            await self._follow_file(group, position=0)
            ready.set()
            while True:
                await pause(self._look, LOOK_S)
                self._look.clear()
                await self._follow_file(group, position=self._feed.scene.store.shown)
                self._tell()

    async def _follow_file(self, group: asyncio.TaskGroup, position: int) -> None:
        """Brings the logs to what the file says; one that is wrong changes nothing."""
        if self._dynamic is None:
            return
        try:
            text = self._dynamic.read_bytes()
            if text == self._text:
                return
            self._text = text
            wanted = (*self._static, *parse_flow_logs(text))
            check_logs(wanted)
            for one in wanted:
                check_filters(one, self._feed.scene)
        except OSError as error:
            self._text = None
            if self._reloads or not isinstance(error, FileNotFoundError):  # else: not yet there
                self._complain(f"{self._dynamic}: {error.strerror}; its logs go on")
        except ExportConfigError as error:
            self._complain(f"{self._dynamic}: {error}")
        else:
            self._complain("")
            self._reloads += 1
            log.info("export logs read", extra={"logs": [one.name for one in wanted]})
            await self._change(group, wanted, position)

    async def _change(
        self, group: asyncio.TaskGroup, wanted: tuple[ExportLog, ...], position: int
    ) -> None:
        """Stops what is gone or has changed, starts what is new; a changed log goes on."""
        by_name = {one.name: one for one in wanted}
        stopped = {}
        for name in list(self._followers):
            if self._followers[name].wanted != by_name.get(name):
                stopped[name] = await self._stop(name)
        paths = {one.file_path for one in wanted}
        for one in stopped.values():
            if one.wanted.file_path not in paths:
                one.forget()
        for name in by_name.keys() - self._followers.keys():
            start = stopped[name].position if name in stopped else position
            self._add(by_name[name], start)
            self._start(group, name)

    def _add(self, wanted: ExportLog, position: int) -> None:
        self._followers[wanted.name] = Follower(
            wanted, self._feed, self._intake, self._folder, position
        )

    def _start(self, group: asyncio.TaskGroup, name: str) -> None:
        self._tasks[name] = group.create_task(self._followers[name].run(), name=f"export {name}")

    async def _stop(self, name: str) -> Follower:
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait([task])
        return self._followers.pop(name)

    def _complain(self, error: str) -> None:
        """Says once what is wrong with the file."""
        if error and error != self._error:
            log.error("export logs not followed", extra={"error": error})
        self._error = error

    def _tell(self) -> None:
        """Leaves the status where the agent finds it."""
        text = msgspec.json.encode(self.status())
        if text != self._told:
            fresh = self._status_file.with_suffix(".new")
            with contextlib.suppress(OSError):
                with open(fresh, "wb", opener=open_private) as file:
                    file.write(text)
                fresh.rename(self._status_file)
            self._told = text
