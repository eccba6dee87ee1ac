"""What a process asks of its files: nobody else reads them, and there may be many open."""

import os
import resource
from pathlib import Path


def open_private(path: str | Path, flags: int) -> int:
    """Opens a file for its owner alone, whatever its mode was; returns the descriptor.

    The signature is that of an `opener` of `open`.

    Raises:
        OSError: It cannot be opened, or is somebody else's.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def raise_file_limit() -> int:
    """Allows this process as many open files as it may allow itself; returns how many.

    The usual soft limit of 1024 is of use to programs that call select(2), as none here does.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
