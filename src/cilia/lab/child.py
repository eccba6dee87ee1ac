"""One program of the lab: started in its namespace and cgroup, restarted when it dies."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from cilia.lab import cgroup
from cilia.lab.settings import ProgramStatus

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
SETTLED_S = 10.0
"""A program that ran this long starts the next time without delay."""
STOP_S = 5.0
"""How long a program may take to stop before it is killed."""


class Program(msgspec.Struct, frozen=True):
    """What to run, and where."""

    name: str
    words: tuple[str, ...]
    """What follows `cilia` on the command line."""
    cgroup: Path
    """cgroup v2 folder to run in; it is made when it is missing."""
    log: Path
    netns: str | None = None
    """Path of the network namespace; None: the supervisor's own."""

    def command(self) -> list[str]:
        """The full command line, from joining the cgroup to the program itself."""
        enter = ["nsenter", f"--net={self.netns}", "--"] if self.netns else []
        run = [sys.executable, "-m", "cilia", *self.words]
        return cgroup.command(self.cgroup, [*enter, *run])


def restart_delay_s(lived_s: float, last_delay_s: float) -> float:
    """How long to wait before the next start of a program that has ended.

    >>> [restart_delay_s(0.0, 0.0), restart_delay_s(0.0, 0.1), restart_delay_s(60.0, 5.0)]
    [0.1, 0.2, 0.1]
    """
    if lived_s >= SETTLED_S or last_delay_s == 0:
        return FIRST_DELAY_S
    return min(2 * last_delay_s, LONGEST_DELAY_S)


class Child:
    """Keeps one program running until it is held or stopped."""

    def __init__(self, program: Program, changed: Callable[[], None]) -> None:
        self.program = program
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._state = "stopped"
        self._starts = 0
        self._last_exit: int | None = None
        self._wanted = asyncio.Event()
        self._interrupt = asyncio.Event()
        self._wanted.set()

    def status(self) -> ProgramStatus:
        """What the program is doing."""
        process = self._process
        return ProgramStatus(
            name=self.program.name,
            state=self._state,
            pid=process.pid if process else None,
            restarts=max(0, self._starts - 1),
            last_exit=self._last_exit,
            log=str(self.program.log),
        )

    def hold(self) -> None:
        """Stops the program and keeps it stopped until `release`."""
        if self._wanted.is_set():
            self._wanted.clear()
            self._interrupt.set()

    def release(self) -> None:
        """Lets a held program run again."""
        self._wanted.set()

    async def run(self) -> None:
        """Starts the program again and again; cancellation stops it."""
        delay_s = 0.0
        try:
            while True:
                if not self._wanted.is_set():
                    self._become("held")
                    await self._wanted.wait()
                    delay_s = 0.0
                self._interrupt.clear()
                began = time.monotonic()
                await self._run_once()
                if not self._wanted.is_set():
                    continue
                delay_s = restart_delay_s(time.monotonic() - began, delay_s)
                self._become("waiting")
                await asyncio.sleep(delay_s)
        finally:
            await self._stop()
            self._become("stopped")

    async def _run_once(self) -> None:
        self.program.cgroup.mkdir(parents=True, exist_ok=True)
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd="/",
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        self._starts += 1
        self._become("running")
        ended = asyncio.ensure_future(self._process.wait())
        interrupted = asyncio.ensure_future(self._interrupt.wait())
        try:
            await asyncio.wait({ended, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted.cancel()
            if not ended.done():
                await self._stop()
            ended.cancel()
        self._last_exit = self._process.returncode
        self._process = None
        log.info("program ended", extra={"program": self.program.name, "exit": self._last_exit})

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            log.warning("program did not stop, killed", extra={"program": self.program.name})
            process.kill()
            await process.wait()

    def _become(self, state: str) -> None:
        self._state = state
        self._changed()
