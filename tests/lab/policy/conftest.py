"""One lab of two nodes for all policy tests."""

import os
from collections.abc import Iterator

import pytest

from lab.policy.cluster import Cluster
from lab.running_lab import RunningLab, traces


@pytest.fixture(scope="session")
def cluster(kubectl: str) -> Iterator[Cluster]:
    """Nine pods that anyone reaches; nothing of it is left afterwards."""
    running = RunningLab(f"policy{os.getpid()}", kubectl)
    try:
        done = running.lab("up", "--nodes", "2")
        assert done.returncode == 0, done.stdout + done.stderr
        with Cluster(running) as made:
            yield made
    finally:
        gone = running.lab("down")
        assert gone.returncode == 0, gone.stdout + gone.stderr
        assert traces(running.name) == []
