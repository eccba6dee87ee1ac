"""The tree's own rules."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/cilia"
ROOMS = sorted(path.parent for path in SOURCE.glob("*/__init__.py"))
PYTHON = sorted(path for path in SOURCE.rglob("*.py") if "_pb2" not in path.stem)  # generated
C = sorted((ROOT / "bpf").rglob("*.[ch]"))

VAGUE_MODULES = {"utils", "util", "common", "helpers", "misc", "manager", "base", "core", "info"}
LINES_A_FILE = 400
LINES_A_HEADER = 200
LINES_A_PROGRAM = 300


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.name)
def test_every_room_says_what_it_owns(room: Path) -> None:
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


def test_modules_have_names_that_say_something() -> None:
    assert not [path for path in PYTHON if path.stem in VAGUE_MODULES]


def test_a_file_fits_in_the_head() -> None:
    limits = {
        **dict.fromkeys(PYTHON, LINES_A_FILE),
        **{path: LINES_A_HEADER if path.suffix == ".h" else LINES_A_PROGRAM for path in C},
    }
    assert {str(p): n for p, limit in limits.items() if (n := lines(p)) > limit} == {}


@pytest.mark.parametrize("path", C, ids=lambda path: path.name)
def test_kernel_sources_name_their_licence_and_their_concept(path: Path) -> None:
    first, second, *_ = path.read_text().splitlines()
    assert first == "// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"
    assert second.startswith(f"/* {path.name.split('.')[0]}")


def test_functions_import_nothing_but_in_main() -> None:
    inner = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PYTHON
        if path != SOURCE / "__main__.py"
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inner == []


def test_nothing_of_the_machine_it_was_written_on() -> None:
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split()
    home = re.compile(r"/(home|root|Users|work)/[a-z]")
    found = []
    for name in tracked:
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {line.strip()}" for line in text.splitlines() if home.search(line)]
    assert found == []


def test_a_marker_of_work_left_names_its_issue() -> None:
    left = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in [*PYTHON, *C]
        for line in path.read_text().splitlines()
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line) and not re.search(r"#\d+", line)
    ]
    assert left == []
