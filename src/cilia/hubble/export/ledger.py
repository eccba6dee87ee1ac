"""How far a log had come, kept beside the observer: what a crash took is a number.

The kernel's rings outlive the observer and say how many records were ever taken from
them, and losses are told once. A log notes how much of both it has dealt with; the next
observer compares.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import Protocol

import msgspec


class Intake(Protocol):
    """The records that left the rings for an observer, and those that it told as lost."""

    @property
    def epoch(self) -> str:
        """Another text when counting began anew (other rings, a reboot)."""

    def taken(self) -> int:
        """How many so far, by this observer and those before it."""


class Mark(msgspec.Struct, frozen=True):
    """How far a log was."""

    epoch: str
    taken: int
    """Records that it had dealt with, or knew to be lost."""
    time: int
    """Unix time in ns."""


class Ledger:
    """One log's mark in a file.

    Args:
        folder: Where the file is made.
        log: The path of the log: each has a mark of its own.
    """

    def __init__(self, folder: Path, log: str) -> None:
        digest = hashlib.sha256(log.encode()).hexdigest()[:16]
        self._path = folder / f"export-{digest}.json"

    def read(self) -> Mark | None:
        """The mark; None when there is none that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Mark)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, mark: Mark) -> None:
        """Replaces the mark; a reader sees the old one or the new one."""
        fresh = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(msgspec.json.encode(mark))
        fresh.rename(self._path)

    def forget(self) -> None:
        """Removes the mark: the log has ended."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
