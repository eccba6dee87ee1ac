"""What every test run must leave behind: nothing.

Namespaces, devices, pins, cgroups and processes that carry our tests' names and are
there after the last test but were not before the first fail the run. What other
runs on this machine make meanwhile carries their process id, so it is not counted.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A machine that is busy is no failure.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")

_OURS = re.compile(rf"(ct|cilia)-{os.getpid()}-")


def _names(folder: Path) -> set[str]:
    return {str(path) for path in folder.iterdir()} if folder.is_dir() else set()


def _devices() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _children() -> set[str]:
    """Processes whose parent is this one, by id and name."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            command = Path("/proc", child, "comm")
            if command.exists():
                found.add(f"process {child} {command.read_text().strip()}")
    return found


def remains() -> set[str]:
    """What of ours is there now."""
    places = [Path("/run/netns"), Path("/sys/fs/bpf"), Path("/sys/fs/bpf/cilia")]
    places += [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
    named = {name for place in places for name in _names(place)} | _devices()
    return {name for name in named if _OURS.search(name)} | _children()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fails the run when a test left something of ours in the kernel."""
    before = remains()
    yield
    left = remains() - before
    assert not left, f"tests left behind: {', '.join(sorted(left))}"
