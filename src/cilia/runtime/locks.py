"""One process for one thing: a file that is locked as long as its owner lives."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

import msgspec

from cilia.model.errors import Conflict
from cilia.runtime.files import open_private

_LENGTH = 127


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock."""

    pid: int
    since: str
    """Local time at which it took the lock, ISO 8601."""


class ProcessLock:
    """Holds a lock file while in its `with` block; the kernel lets go when we die.

    Args:
        path: The file; its folder is made.
        what: What is locked, for the error text: "an agent for node-1".
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._what = what
        self._descriptor = -1

    def __enter__(self) -> "ProcessLock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Whoever may read a file may lock it too.
        descriptor = open_private(self.path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise Conflict(f"{self._what} runs already: {_describe(told)}; stop it first") from None
        holder = Holder(pid=os.getpid(), since=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        # Always the same length, so that a reader sees one holder or the other.
        os.pwrite(descriptor, msgspec.json.encode(holder).ljust(_LENGTH) + b"\n", 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The file stays: removing it would let two processes lock two files of one name.
        os.close(self._descriptor)


def _describe(told: bytes) -> str:
    try:
        holder = msgspec.json.decode(told, type=Holder)
    except msgspec.DecodeError:
        return "process unknown"
    return f"process {holder.pid}, since {holder.since}"
