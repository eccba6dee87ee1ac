"""Makes sandboxes by forking itself: a pod does not pay for an interpreter's start.

Reads one JSON request a line from its standard input (a socket of the kubelet)
and answers with one line each, in order. Ends when the kubelet is gone; the
shims it started stay.
"""

import contextlib
import json
import os
import socket
import sys
from typing import NoReturn, TypedDict

from cilia.lab.kubelet.shim import linux
from cilia.lab.kubelet.shim.program import Shim


class SandboxRequest(TypedDict):
    """A pod's sandbox to make."""

    hostname: str
    netns: str
    """Path to pin its network namespace at; empty: the node's own network."""
    cgroup: str
    socket: str
    """Where its shim will listen."""
    log: str
    """File for the shim's own complaints."""


def main() -> None:
    """Serves requests until standard input ends."""
    with os.fdopen(0, "r", encoding="utf-8", closefd=False) as requests:
        for line in requests:
            reply = _make(json.loads(line))
            os.write(1, json.dumps(reply).encode() + b"\n")


def _make(request: SandboxRequest) -> dict[str, object]:
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _build(request, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    reply: dict[str, object] = json.loads(text)
    return reply


def _build(request: SandboxRequest, tell: int) -> NoReturn:
    """Enters the pod's namespaces, forks its first process, says how that went."""
    try:
        os.setsid()
        linux.join_cgroup(request["cgroup"])
        if request["netns"]:
            linux.unshare(linux.CLONE_NEWNET)
            linux.set_link_up("lo")
            _pin(request["netns"])
        kinds = linux.CLONE_NEWPID | linux.CLONE_NEWIPC
        linux.unshare(kinds | linux.CLONE_NEWUTS if request["netns"] else kinds)
        if request["netns"]:
            socket.sethostname(request["hostname"])
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(request["socket"])
        listener.bind(request["socket"])
        listener.listen(64)
        pid = os.fork()
        if pid == 0:
            os.close(tell)
            _serve(listener, request["log"])
        os.write(tell, json.dumps({"pid": pid}).encode())
    except BaseException as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(tell, json.dumps({"error": text}).encode())
    finally:
        os._exit(0)


def _pin(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
    linux.bind(f"/proc/{os.readlink('/proc/self')}/ns/net", path)


def _serve(listener: socket.socket, log: str) -> NoReturn:
    null = os.open("/dev/null", os.O_RDWR)
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    for fd, target in ((null, 0), (null, 1), (errors, 2)):
        os.dup2(fd, target)
    try:
        Shim(listener).run()
    except BaseException as error:
        print(f"shim failed: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)
