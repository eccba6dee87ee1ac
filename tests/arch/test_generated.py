"""Pages that are generated say what their sources say."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_page_of_benchmarks_is_fresh() -> None:
    spec = importlib.util.spec_from_file_location("bench_page", ROOT / "tools/bench_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run: python tools/bench_page.py"


@pytest.mark.parametrize("tool", ["hubble_proto", "metrics_page", "dashboards"])
def test_what_is_generated_is_fresh(tool: str) -> None:
    command = [sys.executable, str(ROOT / f"tools/{tool}.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
