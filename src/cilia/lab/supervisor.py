"""`cilia lab run`: keeps a lab's programs running, and says how far they are.

One task a program (`child`), one that makes the cluster's first objects and
watches how ready they are (`bootstrap`), and one that writes the status file.
SIGHUP: read the settings again. SIGTERM: stop everything, last started first.
"""

import asyncio
import logging
import os
import signal
import time
from datetime import UTC, datetime

from cilia.lab import cgroup, topology
from cilia.lab import settings as files
from cilia.lab.bootstrap import Bootstrap
from cilia.lab.child import Child
from cilia.lab.programs import prepare_files, programs
from cilia.lab.settings import LabSettings, LabStatus, StepStatus
from cilia.lab.site import LabSite
from cilia.model.errors import CiliaError
from cilia.runtime.locks import ProcessLock
from cilia.runtime.logs import set_up_logs

log = logging.getLogger(__name__)

STATUS_PAUSE_S = 0.03
"""Changes of status within this time are written once."""


def main(site: LabSite) -> None:
    """Runs a lab until SIGTERM.

    Raises:
        Conflict: Another supervisor runs this lab.
        CiliaError: The lab's network could not be made.
    """
    set_up_logs()
    with ProcessLock(site.pid_file, f"the supervisor of lab {site.name}"):
        asyncio.run(Supervisor(site).run())


def pods_lost_at(site: LabSite) -> datetime | None:
    """Now, when no pod's process is left (a new lab, a reboot); None: some go on."""
    pods = [site.node(node).cgroup / "pods" for node in site.node_names]
    return None if any(cgroup.processes(folder) for folder in pods) else datetime.now(UTC)


class Supervisor:
    """One lab, as long as it runs."""

    def __init__(self, site: LabSite) -> None:
        self._site = site
        self._settings = self._read_settings()
        self._began = time.monotonic()
        self._steps: list[StepStatus] = []
        self._failure = ""
        self._children: list[Child] = []
        self._bootstrap = Bootstrap(
            site, self._settings.demos, self._step, self._changed, pods_lost_at(site)
        )
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        """Brings the lab up, keeps it up, and takes it down when it is told to."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        writer = asyncio.create_task(self._write_status(), name="status")
        try:
            self._start()
            await self._supervise(stop)
        except (CiliaError, OSError) as error:
            log.exception("lab cannot run", extra={"lab": self._site.name})
            self._failure = str(error)
            raise
        finally:
            writer.cancel()
            files.write(self._site.status_file, self._status())

    def _start(self) -> None:
        self._end_leftovers()
        prepare_files(self._site, self._settings)
        topology.build(self._site)
        self._step("network")
        self._children = [Child(program, self._changed) for program in programs(self._site)]
        self._apply_holds()

    def _end_leftovers(self) -> None:
        """Ends programs of a supervisor that was killed; the pods are the kubelet's to find."""
        system = [
            self._site.cgroup,
            *(self._site.node(one).cgroup for one in self._site.node_names),
        ]
        ended = sum(cgroup.kill(one / "system", spare=os.getpid()) for one in system)
        if ended:
            log.warning("ended what a former supervisor left", extra={"processes": ended})

    async def _supervise(self, stop: asyncio.Event) -> None:
        tasks = [
            asyncio.create_task(child.run(), name=child.program.name) for child in self._children
        ]
        bootstrap = asyncio.create_task(self._bootstrap.run(), name="bootstrap")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait(
                {*tasks, bootstrap, stopping}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                await task
        finally:
            stopping.cancel()
            await _cancelled(bootstrap)
            for task in reversed(tasks):
                began = time.monotonic()
                await _cancelled(task)
                took_s = round(time.monotonic() - began, 2)
                log.info("stopped", extra={"program": task.get_name(), "took_s": took_s})

    def _step(self, name: str) -> None:
        if all(step.name != name for step in self._steps):
            self._steps.append(StepStatus(name, round(time.monotonic() - self._began, 2)))
            log.info("step done", extra={"step": name, "elapsed_s": self._steps[-1].elapsed_s})
            self._changed()

    def _changed(self) -> None:
        self._dirty.set()

    def _reload(self) -> None:
        try:
            self._settings = self._read_settings()
        except ValueError:
            log.exception("settings kept as they were")
            return
        self._apply_holds()
        self._bootstrap.want(self._settings.demos)
        self._changed()

    def _apply_holds(self) -> None:
        for child in self._children:
            if child.program.name in self._settings.held:
                child.hold()
            else:
                child.release()

    def _read_settings(self) -> LabSettings:
        return files.read(self._site.settings_file, LabSettings) or LabSettings()

    def _status(self) -> LabStatus:
        missing = self._bootstrap.missing()
        return LabStatus(
            name=self._site.name,
            pid=os.getpid(),
            revision=self._settings.revision,
            ready=not missing and not self._failure,
            steps=tuple(self._steps),
            waiting_for=tuple(missing),
            programs=tuple(child.status() for child in self._children),
            failure=self._failure,
        )

    async def _write_status(self) -> None:
        while True:
            files.write(self._site.status_file, self._status())
            await self._dirty.wait()
            await asyncio.sleep(STATUS_PAUSE_S)
            self._dirty.clear()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    """Cancels a task and waits until it has cleaned up after itself."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    except Exception:
        log.exception("task failed while it stopped", extra={"task": task.get_name()})
