"""What a lab should be and what it is: the two files that commands and supervisor share."""

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

Value = TypeVar("Value", bound=msgspec.Struct)


class LabSettings(msgspec.Struct, frozen=True):
    """What a lab should be; `cilia lab` commands write it, the supervisor reads it."""

    nodes: int = 1
    demos: tuple[str, ...] = ()
    """Names of the demos that are applied once the API server answers."""
    held: tuple[str, ...] = ()
    """Programs that are kept stopped, by their name in `lab status`."""
    api_port: int = 0
    """Port of the API server on 127.0.0.1; 0: not chosen yet."""
    revision: int = 0
    """Counts the changes of this file."""


class ProgramStatus(msgspec.Struct, frozen=True):
    """One program of the lab, as it is."""

    name: str
    state: str
    """starting, running, waiting (before a restart), held or stopped."""
    pid: int | None
    restarts: int
    last_exit: int | None
    """Exit status of the last run; negative: the signal that ended it."""
    log: str


class StepStatus(msgspec.Struct, frozen=True):
    """One thing that has become true while the lab came up."""

    name: str
    elapsed_s: float
    """Seconds since the supervisor began."""


class LabStatus(msgspec.Struct, frozen=True):
    """What a lab is, in the supervisor's words."""

    name: str
    pid: int
    revision: int
    """Revision of the settings that are in force."""
    ready: bool
    steps: tuple[StepStatus, ...]
    waiting_for: tuple[str, ...]
    """What is not ready yet, in words."""
    programs: tuple[ProgramStatus, ...]
    failure: str = ""
    """Why the lab cannot come up; empty: nothing stands in its way."""


def read(path: Path, kind: type[Value]) -> Value | None:
    """The value that a file holds; None: no such file.

    Raises:
        ValueError: The file does not hold such a value; the message names file and field.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}; remove it with the lab: cilia lab down") from error


def write(path: Path, value: msgspec.Struct) -> None:
    """Replaces a file at once, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))
    draft.replace(path)


def plain(value: msgspec.Struct) -> dict[str, Any]:
    """A value as JSON has it."""
    return dict(msgspec.to_builtins(value))
