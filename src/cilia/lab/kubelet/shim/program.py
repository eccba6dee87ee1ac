"""The shim's loop: requests, output, children.

Requests are JSON lines on a unix socket, one reply line each:

    {"op": "watch"}                 → {"containers": [...]}, then {"exited": {...}} lines
    {"op": "start", ...}            → {"started": {...}} or {"error": "..."}
    {"op": "signal", "name", "signal"}       → {"signalled": true or false}
    {"op": "exec", "name", "program", "tty"} with three descriptors
                                    → {"pid": n} or {"error": "..."}, then {"exit_code": n}
    {"op": "stop"}                  → ends the shim, and with it every process of the pod
"""

import contextlib
import json
import os
import selectors
import signal
import socket
from collections.abc import Callable
from typing import NoReturn, TypedDict

from cilia.lab.kubelet.shim import linux
from cilia.lab.kubelet.shim.container import Container, StartRequest
from cilia.lab.kubelet.shim.process import ProgramSpec, StartRefused, prepare_exec, spawn

_MAX_REQUEST_BYTES = 1 << 24


class ExecRequest(TypedDict):
    """A program to run beside a container's own."""

    name: str
    program: ProgramSpec
    tty: bool


class Client:
    """One connection: what it sent so far, and the descriptors it passed."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.pending = b""
        self.descriptors: list[int] = []
        self.watches = False

    def tell(self, message: object) -> None:
        """Sends one line; a client that went away is noticed when it is read."""
        with contextlib.suppress(OSError):
            self.channel.sendall(json.dumps(message).encode() + b"\n")


class Shim:
    """The pod's first process."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, Client] = {}
        self._runs: dict[str, list[Container]] = {}
        self._execs: dict[int, Client] = {}
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._selector.register(woken, selectors.EVENT_READ, self._reap)

    def run(self) -> NoReturn:
        """Serves for as long as the pod lives."""
        while True:
            for key, _ in self._selector.select():
                handle: Callable[[int], None] = key.data
                if key.fd in self._selector.get_map():
                    handle(key.fd)

    def _accept(self, fd: int) -> None:
        channel, _ = self._listener.accept()
        self._clients[channel.fileno()] = Client(channel)
        self._selector.register(channel, selectors.EVENT_READ, self._receive)

    def _receive(self, fd: int) -> None:
        client = self._clients[fd]
        try:
            chunk, descriptors, _, _ = socket.recv_fds(client.channel, 65536, 3)
        except OSError:
            chunk, descriptors = b"", []
        client.descriptors += descriptors
        client.pending += chunk
        if not chunk or len(client.pending) > _MAX_REQUEST_BYTES:
            self._forget(fd)
            return
        *lines, client.pending = client.pending.split(b"\n")
        for line in lines:
            self._answer(client, json.loads(line))

    def _forget(self, fd: int) -> None:
        client = self._clients.pop(fd)
        self._selector.unregister(client.channel)
        self._execs = {pid: owner for pid, owner in self._execs.items() if owner is not client}
        for descriptor in client.descriptors:
            os.close(descriptor)
        client.channel.close()

    def _answer(self, client: Client, request: dict[str, object]) -> None:
        op = request.get("op")
        if op == "start":
            self._start(client, request)  # type: ignore[arg-type]
        elif op == "exec":
            self._exec(client, request)  # type: ignore[arg-type]
        elif op == "signal":
            client.tell({"signalled": self._signal(str(request["name"]), request["signal"])})
        elif op == "watch":
            client.watches = True
            states = [run.state for runs in self._runs.values() for run in runs]
            client.tell({"containers": states})
        elif op == "stop":
            os._exit(0)
        else:
            client.tell({"error": f"unknown request {op!r}"})

    def _start(self, client: Client, request: StartRequest) -> None:
        try:
            run = Container(request)
        except (StartRefused, OSError) as error:
            client.tell({"error": str(error)})
            return
        # The run before this one stays known: it is the container's last state.
        self._runs[request["name"]] = [*self._runs.get(request["name"], [])[-1:], run]
        for fd in run.outputs:
            self._selector.register(fd, selectors.EVENT_READ, self._pump)
        client.tell({"started": run.state})

    def _exec(self, client: Client, request: ExecRequest) -> None:
        descriptors, client.descriptors = client.descriptors[:3], client.descriptors[3:]
        try:
            run = self._running(request["name"])
            if run is None:
                raise StartRefused(f'container "{request["name"]}" is not running')
            cgroup, mounts = run.state["cgroup"], run.mounts
            program = request["program"]
            program["env"] = {**run.program["env"], **program["env"]}
            pid = spawn(
                lambda: prepare_exec(cgroup, mounts),
                program,
                (descriptors[0], descriptors[1], descriptors[2]),
                tty=request["tty"],
            )
        except (StartRefused, OSError) as error:
            client.tell({"error": str(error)})
            return
        finally:
            for fd in descriptors:
                os.close(fd)
        self._execs[pid] = client
        client.tell({"pid": pid})

    def _running(self, name: str) -> Container | None:
        runs = self._runs.get(name, [])
        return runs[-1] if runs and not runs[-1].state["finished"] else None

    def _signal(self, name: str, number: object) -> bool:
        run = self._running(name)
        if run is None or not isinstance(number, int):
            return False
        if number == signal.SIGKILL:
            linux.kill_cgroup(run.state["cgroup"])
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(run.pid, number)
        return True

    def _pump(self, fd: int) -> None:
        for runs in self._runs.values():
            for run in runs:
                if fd in run.outputs and not run.pump(fd):
                    self._selector.unregister(fd)

    def _reap(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(fd, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._note_exit(pid, status)

    def _note_exit(self, pid: int, status: int) -> None:
        owner = self._execs.pop(pid, None)
        if owner is not None:
            code = os.waitstatus_to_exitcode(status)
            owner.tell({"exit_code": 128 - code if code < 0 else code})
        for runs in self._runs.values():
            for run in runs:
                if run.pid == pid and not run.state["finished"]:
                    for ended in run.end(status):
                        self._selector.unregister(ended)
                    self._publish(run)

    def _publish(self, run: Container) -> None:
        for client in list(self._clients.values()):
            if client.watches:
                client.tell({"exited": run.state})
