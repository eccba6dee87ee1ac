"""The process lock: the second is refused and told who holds it."""

import os
from pathlib import Path

import pytest

from cilia.model.errors import Conflict
from cilia.runtime.locks import ProcessLock


def test_the_second_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agent.pid"
    with (
        ProcessLock(path, "an agent for node-1"),
        pytest.raises(Conflict, match=f"an agent for node-1 runs already: process {os.getpid()}"),
        ProcessLock(path, "an agent for node-1"),
    ):
        pass
    with ProcessLock(path, "an agent for node-1"):
        pass


def test_only_its_owner_may_open_a_lock_file(tmp_path: Path) -> None:
    """Who may read it may lock it, and keep the program from starting."""
    path = tmp_path / "agent.pid"
    path.touch(0o644)
    path.chmod(0o644)  # as older versions left it
    with ProcessLock(path, "an agent for node-1"):
        assert path.stat().st_mode & 0o777 == 0o600
