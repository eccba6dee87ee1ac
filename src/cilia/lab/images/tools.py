"""Programs that images bring: ours, and stand-ins for what the host lacks.

Our programs are modules of the standard library alone. A catalogue container sees
them below `/.cilia` and runs `python /.cilia NAME`, with the interpreter
that runs cilia.
"""

import compileall
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

import cilia
from cilia.lab.images.image import DEFAULT_PATH

_HOME = "/.cilia"
_PROGRAMS_MOUNT = f"{_HOME}/cilia/lab/images/programs"
_FOLDER = Path(__file__).parent / "programs"
_STAND_INS = {"curl": "curl", "wget": "wget", "nc": "nc", "nslookup": "nslookup"}
_START = (
    "import importlib, sys\n"
    "program = importlib.import_module('cilia.lab.images.programs.' + sys.argv[1])\n"
    "sys.exit(program.main(sys.argv[2:]))\n"
)


class Overlay(msgspec.Struct, frozen=True):
    """Files and folders that a catalogue image adds to the host's root."""

    binds: tuple[tuple[Path, str], ...]
    """Pairs of host path and path in the container, read-only."""
    files: tuple[tuple[str, str], ...]
    """Pairs of path and text; executable."""


def interpreter() -> str:
    """The Python without virtual environment that runs our programs."""
    return os.path.realpath(sys.executable)


def program_command(name: str) -> tuple[str, ...]:
    """The command line of one of our programs, in a container."""
    return (interpreter(), "-I", "-S", _HOME, name)


def cilia_command(*words: str) -> tuple[str, ...]:
    """A command line of cilia itself, in a container."""
    return (sys.executable, "-m", "cilia", *words)


def compile_programs() -> None:
    """Compiles our programs once, so that no container has to (it could not keep it)."""
    compileall.compile_dir(_FOLDER, quiet=2)


def host_overlay(masks: tuple[str, ...], which: Callable[[str], str | None]) -> Overlay:
    """What is laid over the host's root for catalogue images.

    Args:
        masks: Folders of the host that are hidden; what we need of them is shown again.
        which: Finds a program of the host, as `shutil.which`.
    """
    needed = [Path(sys.base_prefix), Path(sys.prefix), Path(cilia.__file__).parent]
    binds = [(_FOLDER, _PROGRAMS_MOUNT)]
    binds += [(path, str(path)) for path in dict.fromkeys(needed) if _is_hidden(path, masks)]
    files = [
        (f"/usr/local/bin/{name}", _wrapper(program))
        for name, program in _STAND_INS.items()
        if which(name) is None
    ]
    return Overlay(tuple(binds), ((f"{_HOME}/__main__.py", _START), *files))


def host_program(name: str) -> str | None:
    """Where a container on the host's root finds a program; None: nowhere."""
    return shutil.which(name, path=DEFAULT_PATH)


def _wrapper(program: str) -> str:
    command = " ".join(program_command(program))
    return f'#!/bin/sh\nexec {command} "$@"\n'


def _is_hidden(path: Path, masks: tuple[str, ...]) -> bool:
    """Whether an overlay of the host's root shows something else at `path`, or nothing."""
    if any(path.is_relative_to(mask) for mask in (*masks, "/tmp", "/run")):
        return True
    return os.stat(path).st_dev != os.stat("/").st_dev
