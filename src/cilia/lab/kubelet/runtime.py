"""The kubelet's side of the shim: making sandboxes, talking to their first process."""

import array
import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cilia
from cilia.lab.kubelet.shim.container import ContainerState
from cilia.lab.kubelet.shim.process import ProgramSpec
from cilia.lab.kubelet.shim.spawner import SandboxRequest
from cilia.model.errors import CiliaError

log = logging.getLogger(__name__)

_START = (
    "import sys; sys.path.insert(0, {packages!r}); "
    "from cilia.lab.kubelet.shim.spawner import main; main()"
)
_LINE_LIMIT_BYTES = 1 << 24


class RuntimeRefused(CiliaError):
    """A sandbox or container could not be made; the text says why."""


class ShimGone(CiliaError):
    """The pod's first process does not answer any more: the sandbox is dead."""


class Spawner:
    """The helper process that forks sandboxes; see `shim.spawner`."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Starts the helper."""
        ours, theirs = socket.socketpair()
        with theirs:
            packages = str(Path(cilia.__file__).parent.parent)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-c", _START.format(packages=packages),
                stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True,
            )  # fmt: skip
        self._reader, self._writer = await asyncio.open_connection(sock=ours)

    async def stop(self) -> None:
        """Ends the helper; the sandboxes stay."""
        if self._process is None or self._writer is None:
            return
        await close_writer(self._writer)
        await self._process.wait()

    async def make(self, request: SandboxRequest) -> int:
        """Makes a sandbox; the PID of its first process.

        Raises:
            RuntimeRefused: The kernel refused.
        """
        async with self._turn:
            if self._reader is None or self._writer is None:
                raise RuntimeRefused("the sandbox helper was not started")
            line = b""
            with contextlib.suppress(ConnectionError):
                self._writer.write(json.dumps(request).encode() + b"\n")
                line = await self._reader.readline()
            if not line:
                await self.stop()
                await self.start()
                raise RuntimeRefused("make a sandbox: the helper process had ended; it is back")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise RuntimeRefused(f"make a sandbox: {reply['error']}")
        return int(reply["pid"])


class Shim:
    """One sandbox's first process, as the kubelet talks to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None

    async def watch(self, changed: Callable[[ContainerState], None]) -> list[ContainerState]:
        """Begins to follow its containers.

        Args:
            changed: Called with the state of each container that ends, by `follow`.

        Returns:
            What is known of its containers so far, oldest runs first.

        Raises:
            ShimGone: It does not answer.
        """
        self._changed = changed
        try:
            self._reader, self._writer = await asyncio.open_unix_connection(
                str(self._path), limit=_LINE_LIMIT_BYTES
            )
            self._writer.write(b'{"op": "watch"}\n')
            line = await self._reader.readline()
        except OSError as error:
            raise ShimGone(f"sandbox at {self._path}: {error}") from error
        if not line:
            raise ShimGone(f"sandbox at {self._path}: closed the connection")
        states: list[ContainerState] = json.loads(line)["containers"]
        return states

    async def follow(self) -> None:
        """Passes on what happens to its containers; returns when the shim is gone."""
        if self._reader is None:
            return
        with contextlib.suppress(OSError):
            while line := await self._reader.readline():
                message = json.loads(line)
                if "exited" in message:
                    self._changed(message["exited"])

    async def start(self, request: dict[str, Any]) -> ContainerState:
        """Starts a container.

        Raises:
            RuntimeRefused: It could not be started; the text is for the pod's status.
            ShimGone: The sandbox is dead.
        """
        reply = await self._ask({"op": "start", **request})
        if "error" in reply:
            raise RuntimeRefused(str(reply["error"]))
        state: ContainerState = reply["started"]
        return state

    async def signal(self, container: str, number: int) -> bool:
        """Sends a signal to a container's first process; False: it does not run."""
        reply = await self._ask({"op": "signal", "name": container, "signal": number})
        return bool(reply["signalled"])

    async def execute(
        self, container: str, program: ProgramSpec, stdio: tuple[int, int, int], *, tty: bool
    ) -> "Execution":
        """Runs a program beside a container's own; `stdio` stays the caller's to close.

        Raises:
            RuntimeRefused: It could not be started.
            ShimGone: The sandbox is dead.
        """
        request = {"op": "exec", "name": container, "program": program, "tty": tty}
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.setblocking(False)
            await asyncio.get_running_loop().sock_connect(channel, str(self._path))
            rights = array.array("i", stdio).tobytes()
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            text = json.dumps(request).encode() + b"\n"
            sent = channel.sendmsg([text], ancillary)
            await asyncio.get_running_loop().sock_sendall(channel, text[sent:])
            reader, writer = await asyncio.open_unix_connection(sock=channel)
        except OSError as error:
            channel.close()
            raise ShimGone(f"sandbox at {self._path}: {error}") from error
        execution = Execution(reader, writer)
        await execution.started()
        return execution

    async def stop(self) -> None:
        """Ends the shim, and with it every process of the pod."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.write(b'{"op": "stop"}\n')
                await self._writer.drain()
        await self.disconnect()

    async def disconnect(self) -> None:
        """Stops following; the shim goes on."""
        if self._writer is not None:
            await close_writer(self._writer)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._path))
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                line = await reader.readline()
            finally:
                await close_writer(writer)
        except OSError as error:
            raise ShimGone(f"sandbox at {self._path}: {error}") from error
        if not line:
            raise ShimGone(f"sandbox at {self._path}: closed the connection")
        reply: dict[str, Any] = json.loads(line)
        return reply


class Execution:
    """A program started by `Shim.execute`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def started(self) -> None:
        """Waits until the program runs.

        Raises:
            RuntimeRefused: It could not be started.
        """
        try:
            line = await self._reader.readline()
            reply = json.loads(line) if line else {"error": "the sandbox is gone"}
            if "error" in reply:
                raise RuntimeRefused(str(reply["error"]))
        except BaseException:
            await self.close()
            raise

    async def wait(self) -> int:
        """Its exit code; 137 when the sandbox went away."""
        try:
            line = await self._reader.readline()
        except OSError:
            line = b""
        finally:
            await self.close()
        return int(json.loads(line)["exit_code"]) if line else 137

    async def close(self) -> None:
        """Loses interest in how it ends."""
        await close_writer(self._writer)


async def close_writer(writer: asyncio.StreamWriter) -> None:
    """Closes a connection and waits until it is; a broken one is no error."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def close_all(*descriptors: int) -> None:
    """Closes descriptors; closed ones are no error."""
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.close(fd)
