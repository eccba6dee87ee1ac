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
