"""The Linux calls that namespaces need and Python 3.11 does not have.

Every call raises OSError that names the call and what it was on. ctypes and not
cffi: the shim runs with the standard library alone.

Source: man pages unshare(2), setns(2), mount(2), umount2(2), pivot_root(2).
"""

import ctypes
import fcntl
import os
import platform
import socket
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MNT_DETACH = 2

_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Moves this process into new namespaces; a new PID namespace is for its children."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare 0x{flags:x}")


def setns(fd: int, kind: int) -> None:
    """Moves this thread into the namespace behind `fd`, which must be of `kind`."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), f"setns 0x{kind:x}")


def enter(path: str, kind: int) -> None:
    """Moves this thread into the namespace file at `path`."""
    fd = os.open(path, os.O_RDONLY)
    try:
        setns(fd, kind)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} on {path}") from None
    finally:
        os.close(fd)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mounts `source` on `target`; an empty `kind` is for binds and changes of flags."""
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        f"mount {kind or source} on {target}",
    )


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Shows `source` (file or folder, with what is mounted below it) at `target`."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def unmount(target: str) -> None:
    """Detaches what is mounted on `target`."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(MNT_DETACH)), f"unmount {target}")


def pivot_root(new_root: str) -> None:
    """Makes `new_root`, a mount point, this process's root, and forgets the old one."""
    os.chdir(new_root)
    number = _SYS_PIVOT_ROOT[platform.machine()]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), f"pivot_root {new_root}")
    unmount(".")
    os.chdir("/")


def set_link_up(name: str) -> None:
    """Sets a network interface of this namespace up.

    Source: man page netdevice(7), SIOCSIFFLAGS.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        request = struct.pack("16sH14x", name.encode(), 0)
        flags = struct.unpack("16xH14x", fcntl.ioctl(channel, _SIOCGIFFLAGS, request))[0]
        request = struct.pack("16sH14x", name.encode(), flags | _IFF_UP)
        fcntl.ioctl(channel, _SIOCSIFFLAGS, request)


def join_cgroup(folder: str) -> None:
    """Moves this process into a cgroup v2 folder, which is made when missing."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as file:
        file.write("0")


def kill_cgroup(folder: str) -> None:
    """Kills all processes in a cgroup v2 folder and below; a missing folder is empty.

    Source: kernel Documentation/admin-guide/cgroup-v2.rst, cgroup.kill (5.14).
    """
    try:
        with open(os.path.join(folder, "cgroup.kill"), "w", encoding="ascii") as file:
            file.write("1")
    except FileNotFoundError:
        return
