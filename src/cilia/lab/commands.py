"""What `cilia lab up`, `down`, `status` and the others do."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cilia.lab import cgroup
from cilia.lab import settings as files
from cilia.lab.manifests import demos as known_demos
from cilia.lab.requirements import inspect, prepare, problems
from cilia.lab.settings import LabSettings, LabStatus
from cilia.lab.site import STATE_ROOT, LabSite, find_cgroup2
from cilia.model.errors import CiliaError

Say = Callable[[str], None]

POLL_S = 0.05
LOOK_S = 0.5
MANY_RESTARTS = 3
"""A program that has ended so often while the lab comes up is told of."""
SUPERVISOR_LOG = "supervisor.log"


class LabError(CiliaError):
    """A lab cannot do what was asked; the message says what to type."""


def open_site(name: str, nodes: int | None = None) -> LabSite:
    """A lab's site, with as many nodes as its settings say.

    Raises:
        LabError: There is no cgroup v2 hierarchy, or the name is not one.
    """
    cgroups = find_cgroup2(Path("/proc/self/mountinfo").read_text())
    if cgroups is None:
        remedy = "cilia lab up says what to type"
        raise LabError(f"no cgroup v2 hierarchy is mounted, so no lab can run here; {remedy}")
    try:
        site = LabSite(name, cgroups)
        known = files.read(site.settings_file, LabSettings)
        return LabSite(name, cgroups, nodes or (known.nodes if known else 1))
    except ValueError as error:
        raise LabError(str(error)) from error


def check_machine() -> None:
    """Makes sure that this machine can run a lab.

    Raises:
        LabError: It cannot; the message lists what is missing and what to type.
    """
    prepare()
    found = problems(inspect())
    if found:
        lines = [f"  {one.what}\n    type: {one.remedy}" for one in found]
        raise LabError("\n".join(["this machine cannot run a lab yet:", *lines]))


def change_settings(site: LabSite, change: Callable[[LabSettings], LabSettings]) -> LabSettings:
    """Writes changed settings; the same settings are left alone."""
    known = files.read(site.settings_file, LabSettings)
    before = known or LabSettings()
    after = change(before)
    if known is not None and after == before:
        return before
    values = {name: getattr(after, name) for name in after.__struct_fields__}
    numbered = LabSettings(**{**values, "revision": before.revision + 1})
    files.write(site.settings_file, numbered)
    return numbered


def wanted_settings(before: LabSettings, demos: tuple[str, ...], nodes: int) -> LabSettings:
    """Settings with further demos; the port of the API server is chosen once."""
    return LabSettings(
        nodes=nodes,
        demos=tuple(dict.fromkeys((*before.demos, *demos))),
        held=before.held,
        api_port=before.api_port or free_port(),
        revision=before.revision,
    )


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def up(site: LabSite, demos: tuple[str, ...], timeout_s: float, say: Say) -> LabStatus:
    """Brings a lab up, or finds it up, and waits until everything in it is ready.

    Raises:
        LabError: A demo is unknown, the lab has other nodes, or the time is over.
    """
    for demo in demos:
        if demo not in known_demos():
            raise LabError(f"no demo {demo!r}; there is: {', '.join(known_demos())}")
    began = time.monotonic()
    supervisor = running_supervisor(site)
    known = files.read(site.settings_file, LabSettings)
    if supervisor and known and known.nodes != site.nodes:
        raise LabError(
            f"lab {site.name} runs with {known.nodes} nodes, not {site.nodes}; "
            f"type: cilia lab down --name {site.name}, then bring it up again"
        )
    settings = change_settings(site, lambda known: wanted_settings(known, demos, site.nodes))
    started = None
    if supervisor is None:
        site.status_file.unlink(missing_ok=True)
        started = start_supervisor(site)
    elif site.status_file.exists():
        # Before it has written its status, it has not read the settings either.
        os.kill(supervisor, signal.SIGHUP)
    return Progress(site, settings.revision, began, timeout_s).follow(started, say)


def start_supervisor(site: LabSite) -> "subprocess.Popen[bytes]":
    """Starts `cilia lab run` as a process of its own session."""
    for folder in (site.log, site.cgroup / "system"):
        folder.mkdir(parents=True, exist_ok=True)
    with (site.log / SUPERVISOR_LOG).open("ab") as sink:
        return subprocess.Popen(
            cgroup.command(
                site.cgroup / "system",
                [sys.executable, "-m", "cilia", "lab", "run", "--name", site.name],
            ),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd="/",
            start_new_session=True,
        )


def running_supervisor(site: LabSite) -> int | None:
    """Process id of the lab's supervisor; None: it does not run."""
    for pid in cgroup.processes(site.cgroup / "system"):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        except OSError:
            continue
        if words[-4:] == ["lab", "run", "--name", site.name]:
            return pid
    return None


class Progress:
    """A lab on its way up, as its status file tells it."""

    def __init__(self, site: LabSite, revision: int, began: float, timeout_s: float) -> None:
        self._site = site
        self._revision = revision
        self._began = began
        self._timeout_s = timeout_s
        self._told: set[str] = set()
        self._look_at_s = 0.0

    def follow(self, started: "subprocess.Popen[bytes] | None", say: Say) -> LabStatus:
        """Tells each step until the lab is ready.

        Args:
            started: The supervisor, if it was we who started it.
            say: Gets one line a step, if so.

        Raises:
            LabError: The supervisor ended, or the time is over.
        """
        name, status = self._site.name, None
        while self._elapsed_s() < self._timeout_s:
            status = files.read(self._site.status_file, LabStatus)
            if self._has_ended(started):
                why = (status and status.failure) or "its supervisor ended"
                raise LabError(f"lab {name}: {why}{last_words(self._site.log / SUPERVISOR_LOG)}")
            if status is not None and status.revision >= self._revision:
                if started is not None:
                    self._tell(status, say)
                if status.ready:
                    return status
            time.sleep(POLL_S)
        waiting = ", ".join(status.waiting_for) if status else "the supervisor"
        raise LabError(
            f"lab {name} is not ready after {self._timeout_s:g} s; missing: {waiting}; "
            f"look at: cilia lab status --name {name}, and the logs in {self._site.log}"
        )

    def _has_ended(self, started: "subprocess.Popen[bytes] | None") -> bool:
        """Whether there is no supervisor any more; somebody else's is looked for less often."""
        if started is not None:
            return started.poll() is not None
        if self._elapsed_s() < self._look_at_s:
            return False
        self._look_at_s = self._elapsed_s() + LOOK_S
        return running_supervisor(self._site) is None

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def _tell(self, status: LabStatus, say: Say) -> None:
        for step in status.steps:
            if step.name not in self._told:
                self._told.add(step.name)
                say(f"{self._elapsed_s():5.1f} s  {step.name}")
        for one in status.programs:
            if one.restarts >= MANY_RESTARTS and one.name not in self._told:
                self._told.add(one.name)
                ended = f"{one.name} keeps ending, now with exit code {one.last_exit}"
                say(f"{self._elapsed_s():5.1f} s  {ended}{last_words(Path(one.log), 3)}")


def last_words(log: Path, count: int = 10) -> str:
    """The last lines of a log, each on a line of its own, and where to find the others."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return "\n".join([f"; the end of {log}:", *(f"  {line}" for line in lines[-count:])])


def hold(site: LabSite, program: str, held: bool) -> None:
    """Stops a program of a running lab and keeps it stopped, or lets it run again.

    Raises:
        LabError: The lab does not run, or has no such program.
    """
    supervisor = running_supervisor(site)
    status = files.read(site.status_file, LabStatus)
    if supervisor is None or status is None:
        raise LabError(f"lab {site.name} does not run; type: cilia lab up --name {site.name}")
    names = [one.name for one in status.programs]
    if program not in names:
        raise LabError(f"lab {site.name} has no program {program}; it has: {', '.join(names)}")

    def change(known: LabSettings) -> LabSettings:
        others = tuple(name for name in known.held if name != program)
        return LabSettings(
            nodes=known.nodes,
            demos=known.demos,
            held=(*others, program) if held else others,
            api_port=known.api_port,
            revision=known.revision,
        )

    change_settings(site, change)
    os.kill(supervisor, signal.SIGHUP)
    _wait_held(site, program, held)


def _wait_held(site: LabSite, program: str, held: bool) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        status = files.read(site.status_file, LabStatus)
        for one in status.programs if status else ():
            if one.name == program and one.state == ("held" if held else "running"):
                return
        time.sleep(POLL_S)
    raise LabError(f"lab {site.name}: {program} did not {'stop' if held else 'start'} in time")


def labs() -> list[str]:
    """Names of all labs on this machine, running or not."""
    if not STATE_ROOT.is_dir():
        return []
    return sorted(path.name for path in STATE_ROOT.iterdir() if path.is_dir())
