"""One lab a session, shared by the tests that need a whole cluster."""

import os
from collections.abc import Iterator

import pytest

from lab.kubectl import kubectl_binary
from lab.running_lab import RunningLab, traces, wait_for
from lab.test_star_wars import POLICY, deathstars_enforced


@pytest.fixture(scope="session")
def kubectl() -> str:
    """Path of a stock kubectl."""
    return str(kubectl_binary())


@pytest.fixture(scope="session")
def lab(kubectl: str) -> Iterator[RunningLab]:
    """A lab with the Star Wars demo in it; nothing of it is left afterwards."""
    running = RunningLab(f"t{os.getpid()}", kubectl)
    try:
        done = running.lab("up", "--demo", "starwars")
        assert done.returncode == 0, done.stdout + done.stderr
        yield running
    finally:
        gone = running.lab("down")
        assert gone.returncode == 0, gone.stdout + gone.stderr
        assert traces(running.name) == []


@pytest.fixture
def enforced(lab: RunningLab) -> Iterator[RunningLab]:
    """The lab with the demo's policy in force."""
    done = lab.kubectl("apply", "-f", str(POLICY))
    assert done.returncode == 0, done.stderr
    try:
        wait_for("both deathstars enforce ingress", lambda: deathstars_enforced(lab))
        yield lab
    finally:
        deleted = lab.kubectl("delete", "cnp", "rule1", "--ignore-not-found")
    assert deleted.returncode == 0, deleted.stderr
