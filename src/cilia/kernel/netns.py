"""Network namespaces: make, remove, enter.

A namespace is named by a path (`/run/netns/NAME`, `/proc/PID/ns/net`). Entering
changes the calling thread alone, so there is no await and no other thread's
work inside.

Source:
    setns(2), unshare(2), ip-netns(8).
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from cilia.kernel.errors import kernel_error
from cilia.kernel.libbpf import check_libc, libc
from cilia.model.errors import KernelError

FOLDER = Path("/run/netns")
_NEWNET = 0x40000000
_BIND, _SHARED, _REC, _DETACH = 4096, 1 << 20, 16384, 2

Result = TypeVar("Result")


def create(name: str) -> Path:
    """Makes a namespace that outlives this process; its path.

    Raises:
        ExistsError: There is one of that name.
    """
    _share_folder()
    path = FOLDER / name
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o444))
    except OSError as error:
        raise kernel_error("create", f"network namespace {name}", error.errno or 0) from error

    def bind() -> None:
        check_libc(libc.unshare(_NEWNET), "create", f"network namespace {name}")
        ours = b"/proc/thread-self/ns/net"
        done = libc.mount(ours, bytes(path), b"none", _BIND, b"")
        check_libc(done, "mount", f"network namespace {name} at {path}")

    try:
        _in_thread(bind)
    except KernelError:
        path.unlink()
        raise
    return path


def delete(name: str) -> bool:
    """Removes a namespace's name; it goes when its last process and socket go."""
    path = FOLDER / name
    if not path.exists():
        return False
    libc.umount2(bytes(path), _DETACH)
    path.unlink(missing_ok=True)
    return True


@contextmanager
def inside(path: str | Path | None) -> Iterator[None]:
    """Runs the block with the calling thread in that namespace; None: where it is.

    Raises:
        NotFoundError: No namespace at `path`.
    """
    if path is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = open_namespace(path)
        try:
            check_libc(libc.setns(target, _NEWNET), "enter", f"network namespace {path}")
        finally:
            os.close(target)
        try:
            yield
        finally:
            check_libc(libc.setns(home, _NEWNET), "return from", f"network namespace {path}")
    finally:
        os.close(home)


def open_namespace(path: str | Path) -> int:
    """A file descriptor of a namespace; the caller closes it."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno or 0
        raise kernel_error("open", f"network namespace {path}", number) from error


def run(path: str | Path | None, work: Callable[[], Result]) -> Result:
    """What `work` returns when it runs inside a namespace."""
    with inside(path):
        return work()


def open_socket(
    path: str | Path | None, family: int, kind: int, protocol: int = 0
) -> socket.socket:
    """A socket that lives in a namespace, usable from anywhere."""
    with inside(path):
        return socket.socket(family, kind, protocol)


def identity(path: str | Path | None) -> tuple[int, int]:
    """Device and inode of a namespace: equal for two paths to the same one."""
    try:
        found = os.stat(path or "/proc/thread-self/ns/net")
    except OSError as error:
        number = error.errno or 0
        raise kernel_error("find", f"network namespace {path}", number) from error
    return found.st_dev, found.st_ino


def _share_folder() -> None:
    """Makes /run/netns a shared mount, so that other mount namespaces see new names."""
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    if libc.mount(b"", bytes(FOLDER), b"none", _SHARED | _REC, b"") == 0:
        return
    place = bytes(FOLDER)
    check_libc(libc.mount(place, place, b"none", _BIND | _REC, b""), "mount", str(FOLDER))
    check_libc(libc.mount(b"", place, b"none", _SHARED | _REC, b""), "share", str(FOLDER))


def _in_thread(work: Callable[[], None]) -> None:
    """Runs `work` in a thread that dies afterwards, and with it what it changed of itself."""
    failure: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
