"""What is committed about the kernel side is what the kernel side is."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.mark.parametrize("tool", ["layout_dump.py", "verifier_record.py"])
def test_the_record_holds(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / tool), "--check"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
