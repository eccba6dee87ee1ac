"""Listening sockets in any network namespace."""

import ctypes
import os
import socket
import threading

from .config import Listener

# From <linux/sched.h>; os.setns comes only with Python 3.12.
_CLONE_NEWNET = 0x40000000
BACKLOG = 1024
_LIBC = ctypes.CDLL(None, use_errno=True)


def open_listener(listener: Listener) -> socket.socket:
    """A listening, non-blocking socket.

    A socket belongs to the namespace in which it is made, so a thread of its
    own enters the namespace and ends with it.

    Raises:
        OSError: The namespace does not exist, or the address cannot be bound.
    """
    if listener.netns is None:
        return _bind(listener)
    outcome: list[socket.socket | OSError] = []

    def inside() -> None:
        try:
            enter_netns(str(listener.netns))
            outcome.append(_bind(listener))
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=inside, name=f"listen {listener.host}")
    thread.start()
    thread.join()
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


def _bind(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind((listener.host, listener.port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise OSError(
            error.errno,
            f"listen on {listener.host} port {listener.port}: {error.strerror}",
        ) from error
    return made


def url(made: socket.socket) -> str:
    """`https://host:port` of a listening socket."""
    host, port = made.getsockname()[:2]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def enter_netns(path: str) -> None:
    """Moves the calling thread into a network namespace."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"enter network namespace {path}: {os.strerror(code)}")
    finally:
        os.close(descriptor)
