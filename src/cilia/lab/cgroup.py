"""The lab's cgroups: what runs in them, and how it and they go away.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from cilia.model.errors import CiliaError

PATIENCE_S = 20.0
POLL_S = 0.02


class CgroupBusy(CiliaError):
    """A cgroup's processes would not end, or it would not go."""


def command(folder: Path, words: list[str]) -> list[str]:
    """A command line that joins a cgroup before it becomes another one."""
    enter = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'
    return ["sh", "-c", enter, "sh", str(folder), *words]


def folders(root: Path) -> Iterator[Path]:
    """A cgroup and all below it, the deepest first."""
    for folder, _, _ in os.walk(root, topdown=False):
        yield Path(folder)


def processes(root: Path) -> list[int]:
    """Process ids in a cgroup and below it."""
    found: list[int] = []
    for folder in folders(root):
        with contextlib.suppress(OSError):
            found += [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    return found


def kill(root: Path, spare: int = 0) -> int:
    """Kills every process in a cgroup and below it, but for one; how many there were.

    Raises:
        CgroupBusy: Some do not end.
    """
    count = len([pid for pid in processes(root) if pid != spare])
    deadline = time.monotonic() + PATIENCE_S
    while left := [pid for pid in processes(root) if pid != spare]:
        if time.monotonic() > deadline:
            raise CgroupBusy(f"processes in {root} do not end: {left}; look at /proc/{left[0]}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    return count


def remove(root: Path) -> int:
    """Removes a cgroup without processes and all below it; how many there were.

    Raises:
        CgroupBusy: The kernel keeps one.
    """
    count = 0
    deadline = time.monotonic() + PATIENCE_S
    for folder in folders(root):
        while True:
            try:
                folder.rmdir()
                count += 1
                break
            except FileNotFoundError:
                break
            except OSError as error:
                # It stays busy for a moment after its last process has ended.
                if time.monotonic() > deadline:
                    raise CgroupBusy(f"cgroup {folder} cannot be removed: {error}") from error
                time.sleep(POLL_S)
    return count
