"""`cilia lab up` says at once what stands in its way."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from cilia.lab import commands, settings
from cilia.lab.settings import LabStatus
from cilia.lab.site import LabSite
from lab.running_lab import RunningLab, cilia_command, traces, wait_for

NEVER_S = "600"
"""A timeout that no test lives to see."""


@pytest.fixture
def own(kubectl: str) -> Iterator[RunningLab]:
    """A lab of the test's own; not up yet."""
    running = RunningLab(f"h{os.getpid()}", kubectl)
    yield running
    running.lab("down")
    assert traces(running.name) == []


@pytest.fixture
def site(own: RunningLab) -> LabSite:
    return commands.open_site(own.name)


def test_a_supervisor_that_cannot_start_is_told_of_with_its_last_words(
    own: RunningLab, site: LabSite
) -> None:
    site.run.mkdir(parents=True)
    (site.run / "config").write_text("in the way of a folder")
    done = own.lab("up", "--timeout", NEVER_S)
    assert done.returncode == 1
    assert "File exists" in done.stderr
    assert f"the end of {site.log}/supervisor.log:" in done.stderr
    assert "\n  cilia lab: [Errno 17]" in done.stderr


def begin(own: RunningLab, *options: str) -> "subprocess.Popen[str]":
    words = ("lab", "up", "--name", own.name, "--timeout", NEVER_S, *options)
    return subprocess.Popen(
        [*cilia_command(), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=own.environment | {"PYTHONUNBUFFERED": "1", "CILIA_MTU": "much"},
    )


def revision(site: LabSite) -> int:
    """Of the settings that the supervisor has read."""
    status = settings.read(site.status_file, LabStatus)
    return status.revision if status else 0


def test_a_supervisor_that_is_killed_ends_everybody_s_wait(own: RunningLab, site: LabSite) -> None:
    """The agent's settings are nonsense, so that the lab never comes up by itself."""
    first = begin(own)
    assert first.stdout is not None
    said = next(line for line in first.stdout if "node-1/agent keeps ending" in line)
    assert "exit code 1" in said
    assert "setting mtu (environment) is 'much'" in first.stdout.readline()
    before = revision(site)
    second = begin(own, "--demo", "starwars")
    wait_for("the second waits, too", lambda: revision(site) > before)
    supervisor = commands.running_supervisor(site)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    for one in (first, second):
        _, complaint = one.communicate(timeout=60)
        assert one.returncode == 1
        assert "its supervisor ended" in complaint
