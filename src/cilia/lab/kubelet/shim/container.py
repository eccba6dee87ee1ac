"""The shim's memory of one run of a container."""

import os
import socket
import time
from typing import TypedDict

from cilia.lab.kubelet.shim import linux
from cilia.lab.kubelet.shim.log import Framer, LogFile
from cilia.lab.kubelet.shim.process import ProgramSpec, prepare_container, spawn
from cilia.lab.kubelet.shim.rootfs import RootSpec


class StartRequest(TypedDict):
    """A container to start."""

    op: str
    name: str
    id: str
    attempt: int
    cgroup: str
    log: str
    root: RootSpec
    program: ProgramSpec


class ContainerState(TypedDict):
    """What is known of one run of a container, as the kubelet reads it."""

    name: str
    id: str
    attempt: int
    pid: int
    """In the kubelet's PID namespace."""
    started: float
    """Seconds since the epoch."""
    finished: float
    """Zero while it runs."""
    exit_code: int
    signal: int
    cgroup: str


class Container:
    """One run: its first process, its output pipes and its mount namespace."""

    def __init__(self, request: StartRequest) -> None:
        """Starts it.

        Raises:
            StartRefused: It could not be prepared or executed.
            OSError: The log file or the pipes could not be made.
        """
        self.program = request["program"]
        self.log = LogFile(request["log"])
        self.outputs: dict[int, Framer] = {}
        self.mounts = -1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            self.pid = spawn(
                lambda: prepare_container(request["cgroup"], request["root"], theirs),
                request["program"],
                (null, out_end, err_end),
            )
            text, descriptors, _, _ = socket.recv_fds(ours, 32, 1)
            self.mounts = descriptors[0]
        except BaseException:
            os.close(out)
            os.close(err)
            linux.kill_cgroup(request["cgroup"])
            raise
        finally:
            for fd in (null, out_end, err_end):
                os.close(fd)
            ours.close()
            theirs.close()
        for fd, stream in ((out, "stdout"), (err, "stderr")):
            os.set_blocking(fd, False)
            self.outputs[fd] = Framer(stream)
        self.state: ContainerState = {
            "name": request["name"], "id": request["id"], "attempt": request["attempt"],
            "pid": int(text), "started": time.time(), "finished": 0.0, "exit_code": 0,
            "signal": 0, "cgroup": request["cgroup"],
        }  # fmt: skip

    def pump(self, fd: int) -> bool:
        """Moves what one output pipe holds to the log; False at its end."""
        framer = self.outputs[fd]
        while True:
            try:
                chunk = os.read(fd, 65536)
            except BlockingIOError:
                return True
            if not chunk:
                break
            self.log.write(framer.feed(chunk, time.time_ns()))
        self.log.write(framer.finish(time.time_ns()))
        del self.outputs[fd]
        os.close(fd)
        if not self.outputs:
            self.log.close()
        return False

    def end(self, status: int) -> list[int]:
        """Notes the first process's end, kills the rest; the pipes that ended with it."""
        linux.kill_cgroup(self.state["cgroup"])
        code = os.waitstatus_to_exitcode(status)
        self.state["finished"] = time.time()
        self.state["signal"] = -code if code < 0 else 0
        self.state["exit_code"] = 128 - code if code < 0 else code
        os.close(self.mounts)
        self.mounts = -1
        return [fd for fd in list(self.outputs) if not self.pump(fd)]
