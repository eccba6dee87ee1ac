"""One log: takes lines out of the store and writes them, and tries again when it cannot."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from cilia.hubble.export.config import STDOUT, ExportLog, now
from cilia.hubble.export.files import RotatingFile, StandardOutput
from cilia.hubble.export.ledger import Intake, Ledger, Mark
from cilia.hubble.export.source import Counts, Feed, Source
from cilia.hubble.filters import InvalidFilterError
from cilia.hubble.proto.flow import flow_pb2

log = logging.getLogger(__name__)

PAUSE_S = 0.2
"""How long lines are gathered: what a kill takes at most, when the log keeps up."""
RETRY_S = 1.0
CLOSE_S = 5.0
LAST_LINES_S = 0.5
"""How long what is left is written when the log is stopped; the rest is told as a gap."""
BATCH_BYTES = 1 << 18
MIB = 1 << 20

Result = TypeVar("Result")


class Sink(Protocol):
    """Where lines go."""

    torn: int
    rotations: int

    def open(self) -> bool:
        """Whether lines are there already."""

    def append(self, data: bytes) -> None:
        """Writes whole lines, or raises OSError and leaves none."""

    def close(self) -> None:
        """Forces them to disk."""


class Batch(msgspec.Struct, frozen=True):
    """Lines to be written together."""

    data: bytes
    position: int
    """Where they end."""
    mark: Mark | None
    """What is noted once they are written."""


class Follower:
    """One log, from its start to its end.

    Args:
        wanted: The log.
        feed: The flows.
        intake: What the rings gave.
        folder: Where marks are kept.
        position: The sequence number of the first flow that is looked at.

    Raises:
        InvalidFilterError: A filter cannot be understood.
    """

    def __init__(
        self, wanted: ExportLog, feed: Feed, intake: Intake, folder: Path, position: int
    ) -> None:
        self.wanted = wanted
        self.counts = Counts()
        self.error = ""
        """Why nothing is written at the moment; empty when all is well."""
        self.position = position
        """Everything before this sequence number is written."""
        self.sink: Sink = _sink(wanted)
        self._source = Source(wanted, feed, position, self.counts)
        self._store = feed.scene.store
        self._intake = intake
        self._ledger = Ledger(folder, wanted.file_path)
        self._begun = self._mark()
        self._lines: list[bytes] = []
        self._pool = ThreadPoolExecutor(1, f"export-{wanted.name}")

    @property
    def backlog(self) -> int:
        """Flows that have been seen, and not been looked at yet."""
        return self._store.shown - self.position

    async def run(self) -> None:
        """Writes until cancelled, or until the end of the log."""
        try:
            if self.wanted.is_over(now()):
                return
            before = await self._insist(self._open)
            await self._write(Batch(self._gap(before), self.position, self._begun))
            while not self.wanted.is_over(now()):
                await self._write(await self._gather())
                if self._source.is_drained:
                    await asyncio.sleep(PAUSE_S)
        except InvalidFilterError as error:  # a filter that is too dear is found out late
            self._note(str(error))
        finally:
            await self._finish()

    def forget(self) -> None:
        """Drops the mark: what comes after the end of the log is no gap in it."""
        self._ledger.forget()

    def _open(self) -> Mark | None:
        """The mark of whoever wrote before; None: nobody did."""
        if not self.sink.open() and self.wanted.file_path != STDOUT:
            return None
        return self._ledger.read() or Mark("", 0, 0)

    def _gap(self, before: Mark | None) -> bytes:
        """The line about what nobody wrote between the last mark and our first flow."""
        if before is None or (before == Mark("", 0, 0) and self.wanted.file_path == STDOUT):
            return b""
        known = before.epoch == self._begun.epoch and before.taken <= self._begun.taken
        if known and before.taken == self._begun.taken:
            return b""
        count = self._begun.taken - before.taken if known else 0
        since = {"first": before.time} if before.time else {}
        source = flow_pb2.OBSERVER_EVENTS_QUEUE if known else flow_pb2.UNKNOWN_LOST_EVENT_SOURCE
        return self._source.lost(count, source, **since, last=self._begun.time)

    async def _gather(self) -> Batch:
        """The next lines, of flows that are there already."""
        size = 0
        while size < BATCH_BYTES:
            data = self._source.take()
            self._lines.append(data)
            size += len(data)
            await asyncio.sleep(0)
            if self._source.is_drained:
                break
        return self._batch()

    def _batch(self) -> Batch:
        """What was gathered; it is the caller's to write."""
        data, self._lines = b"".join(self._lines), []
        mark = None if self._source.holds_groups else self._mark()
        return Batch(data, self._source.position, mark)

    def _mark(self) -> Mark:
        taken = self._intake.taken() - self._source.ahead
        return Mark(self._intake.epoch, taken, time.time_ns())

    async def _write(self, batch: Batch) -> None:
        if batch.data or batch.position != self.position:
            await self._insist(lambda: self._deliver(batch))

    def _deliver(self, batch: Batch) -> None:
        """In a thread: writes, and only then moves on."""
        if batch.data:
            self.sink.append(batch.data)
            self.counts.bytes += len(batch.data)
            self.counts.lines += batch.data.count(b"\n")
        if batch.mark is not None:
            self.position = batch.position
            with contextlib.suppress(OSError):  # a gap is then told larger than it was
                self._ledger.write(batch.mark)

    async def _insist(self, act: Callable[[], Result]) -> Result:
        """Acts in the log's thread, again and again until it succeeds."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                done = await loop.run_in_executor(self._pool, act)
            except OSError as error:
                self.counts.failures += 1
                self._note(f"write {self.wanted.file_path}: {error.strerror}")
                await asyncio.sleep(RETRY_S)
            else:
                self._note("")
                return done

    async def _finish(self) -> None:
        """Writes what is there still, and closes."""
        loop = asyncio.get_running_loop()
        until = time.monotonic() + LAST_LINES_S
        try:
            async with asyncio.timeout(CLOSE_S):
                if not self.error and not self.wanted.is_over(now()):
                    while not self._source.is_drained and time.monotonic() < until:
                        self._lines.append(self._source.take())
                    self._lines += self._source.take_groups()
                    await loop.run_in_executor(self._pool, self._deliver, self._batch())
                await loop.run_in_executor(self._pool, self.sink.close)
        except (OSError, TimeoutError, InvalidFilterError) as error:
            self._note(f"close {self.wanted.file_path}: {error}")
        finally:
            self._pool.shutdown(wait=False)

    def _note(self, error: str) -> None:
        """Says once what is wrong, and once that it is over."""
        if error and error != self.error:
            log.error("export fails", extra={"log": self.wanted.name, "error": error})
        elif self.error and not error:
            log.info("export goes on", extra={"log": self.wanted.name})
        self.error = error


def _sink(wanted: ExportLog) -> Sink:
    if wanted.file_path == STDOUT:
        return StandardOutput()
    return RotatingFile(
        Path(wanted.file_path),
        wanted.file_max_size_mb * MIB,
        wanted.file_max_backups,
        wanted.file_compress,
    )
