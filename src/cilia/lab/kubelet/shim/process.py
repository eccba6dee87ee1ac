"""Starting a program inside a container: the child's side of each fork.

The parent learns by a pipe whether the program was executed: end of file means
yes, text is the reason why not.
"""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import Callable
from typing import NoReturn, TypedDict

from cilia.lab.kubelet.shim import linux
from cilia.lab.kubelet.shim.rootfs import RootSpec, enter_root

_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
# Python ignores these for itself; a program that inherits that never notices a broken pipe.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class ProgramSpec(TypedDict):
    """What to execute, and as whom."""

    args: list[str]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int


class StartRefused(Exception):
    """The program could not be started; the text says what went wrong."""


def spawn(prepare: Callable[[], None], program: ProgramSpec, stdio: tuple[int, int, int],
          *, tty: bool = False) -> int:  # fmt: skip
    """Forks a child that prepares itself and becomes `program`.

    Args:
        prepare: Runs in the child, before its descriptors are replaced.
        program: What to execute.
        stdio: Descriptors for its input, output and errors; still open afterwards.
        tty: `stdio` is a socket instead: the master of a new terminal is sent on it,
            and the terminal becomes all three, and the controlling one.

    Returns:
        The child's number in this PID namespace.

    Raises:
        StartRefused: The child could not prepare or execute the program.
    """
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(prepare, program, stdio, tty, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        refusal = pipe.read()
    if refusal:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        raise StartRefused(refusal.decode(errors="replace"))
    return pid


def prepare_container(cgroup: str, root: RootSpec, back: socket.socket) -> None:
    """Makes the container's mount namespace; sends its descriptor and our host PID back."""
    linux.join_cgroup(cgroup)
    host_pid = os.readlink("/proc/self")
    enter_root(root)
    fd = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    socket.send_fds(back, [host_pid.encode()], [fd])


def prepare_exec(cgroup: str, mounts: int) -> None:
    """Joins a running container: its cgroup and its mount namespace."""
    linux.join_cgroup(cgroup)
    linux.setns(mounts, linux.CLONE_NEWNS)


def _become(prepare: Callable[[], None], program: ProgramSpec, stdio: tuple[int, int, int],
            tty: bool, tell: int) -> NoReturn:  # fmt: skip
    try:
        os.setsid()
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        prepare()
        if tty:
            stdio = _open_terminal(stdio[0])
        _take_stdio(stdio)
        if tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        _enter_folder(program["cwd"])
        _drop_user(program["uid"], program["gid"])
        _execute(program)
    except BaseException as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(tell, text.encode() or b"unknown reason")
    finally:
        os._exit(127)


def _open_terminal(back: int) -> tuple[int, int, int]:
    """Opens a terminal of the container's own devpts; sends its master back.

    Source: man pages pts(4), ioctl_tty(2).
    """
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, b"\0" * 4))[0]
    slave = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY)
    with socket.socket(fileno=os.dup(back)) as channel:
        socket.send_fds(channel, [b"tty"], [master])
    return slave, slave, slave


def _take_stdio(stdio: tuple[int, int, int]) -> None:
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in stdio]
    for number, fd in enumerate(high):
        os.dup2(fd, number)


def _enter_folder(cwd: str) -> None:
    os.makedirs(cwd, exist_ok=True)
    os.chdir(cwd)


def _drop_user(uid: int, gid: int) -> None:
    if uid or gid:
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)


def _execute(program: ProgramSpec) -> None:
    name, env = program["args"][0], program["env"]
    if "/" in name:
        candidates = [name]
    else:
        candidates = [os.path.join(folder, name) for folder in env.get("PATH", "").split(":")]
    refused: OSError | None = None
    for path in candidates:
        try:
            os.execve(path, program["args"], env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = error
    if refused is not None:
        raise OSError(f'exec: "{name}": {(refused.strerror or "").lower()}')
    where = "no such file or directory" if "/" in name else "executable file not found in $PATH"
    raise OSError(f'exec: "{name}": {where}')
