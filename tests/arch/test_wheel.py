"""The wheel carries the compiled objects and nothing that needs a compiler."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_every_object_and_no_c_source(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    objects = {Path(name).name for name in names if name.endswith(".bpf.o")}
    assert objects == {f"{path.stem}.o" for path in (ROOT / "bpf").glob("*.bpf.c")}
    assert not [name for name in names if name.endswith((".c", ".h"))]


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("cilia/")}
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "cilia").rglob("*")
        if path.is_file() and path.suffix in (".py", ".yaml", ".json", ".typed", ".o")
    }
    assert wanted - packed == set()


def test_without_a_compiler_policies_are_tried_all_the_same(tmp_path: Path) -> None:
    tree, built = tmp_path / "tree", tmp_path / "built"
    for folder in (tree, tmp_path / "policies"):
        folder.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "HEAD"], check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "-d", str(built)],
        cwd=tree, env={**os.environ, "CLANG": "clang-of-nobody"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no clang-of-nobody: built without kernel objects" in done.stderr
    assert list(built.rglob("*.o")) == []
    (tmp_path / "policies/pods.yaml").write_text("{kind: Pod, metadata: {name: web}}")
    cases = tmp_path / "policies/cases.yaml"
    cases.write_text("- {from: world, to: web, port: 80, expect: allow}")

    def trial(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "cilia", "policy", "test", str(cases.parent), *words],
            env={**os.environ, "PYTHONPATH": str(built)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert trial().returncode == 0
    asked = trial("--kernel")
    assert asked.returncode == 3
    assert f"{built}/cilia/datapath/objects/layout.bpf.o is missing" in asked.stderr
