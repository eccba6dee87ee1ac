"""`kubectl exec`: one WebSocket, many channels, one program in a container.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and the
remotecommand protocol v5.channel.k8s.io: the first byte of a message is its
channel; 255 closes the channel that the second byte names.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from cilia.lab.kubelet.runtime import Execution, RuntimeRefused, Shim, ShimGone, close_all
from cilia.lab.kubelet.shim.process import ProgramSpec

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_CHUNK_BYTES = 32 * 1024


class Streams(msgspec.Struct, frozen=True):
    """Which of a program's streams the caller wants."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class _Size(msgspec.Struct, frozen=True, rename="pascal"):
    width: int
    height: int


def exit_status(code: int) -> dict[str, Any]:
    """What the error channel says when a program has ended.

    Source: k8s.io/apimachinery metav1.Status, cause type ExitCode.
    """
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure_status(message: str) -> dict[str, Any]:
    """What the error channel says when the program could not be started."""
    return {"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message,
            "code": 500}  # fmt: skip


def set_size(fd: int, width: int, height: int) -> None:
    """Sets a terminal's size in characters."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


class Terminal:
    """The host's ends of one execution's streams."""

    def __init__(self, wanted: Streams) -> None:
        self.stdio: tuple[int, int, int]
        """The program's ends."""
        self.readers: dict[int, int] = {}
        """Channel to descriptor."""
        self.stdin = -1
        self.master = -1
        self._back: socket.socket | None = None
        if wanted.tty:
            # The terminal is one of the container's; its master comes back on a socket.
            self._back, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._back.setblocking(False)
            fd = theirs.detach()
            self.stdio = (fd, fd, fd)
            return
        read, self.stdin = os.pipe()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        self.stdio = (read, out_end, err_end)
        self.readers = {STDOUT: out, STDERR: err}
        if not wanted.stdin:
            self.close_stdin()

    def attach(self) -> None:
        """Takes the master of the program's terminal, once the program runs.

        Raises:
            OSError: It was not sent.
        """
        if self._back is None:
            return
        _, descriptors, _, _ = socket.recv_fds(self._back, 16, 1)
        self.master = descriptors[0]
        self.readers = {STDOUT: os.dup(self.master)}
        self.stdin = os.dup(self.master)

    def close_stdin(self) -> None:
        """Ends the program's input."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close_theirs(self) -> None:
        """Closes the program's ends, once it has them itself."""
        close_all(*set(self.stdio))

    def close(self) -> None:
        """Closes our ends; readers belong to their transports."""
        self.close_stdin()
        if self._back is not None:
            self._back.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


class Session:
    """One exec call."""

    def __init__(self, socket: web.WebSocketResponse, wanted: Streams) -> None:
        self._socket = socket
        self._wanted = wanted

    async def run(self, shim: Shim, container: str, program: ProgramSpec) -> None:
        """Runs the program to its end and says how it ended."""
        terminal = Terminal(self._wanted)
        try:
            try:
                execution = await shim.execute(
                    container, program, terminal.stdio, tty=self._wanted.tty
                )
            except (RuntimeRefused, ShimGone) as error:
                close_all(*terminal.readers.values())
                await self._send(ERROR, msgspec.json.encode(failure_status(str(error))))
                return
            finally:
                terminal.close_theirs()
            terminal.attach()
            code = await self._attend(terminal, execution)
            await self._send(ERROR, msgspec.json.encode(exit_status(code)))
        finally:
            terminal.close()
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self._socket.close()

    async def _attend(self, terminal: Terminal, execution: Execution) -> int:
        async with asyncio.TaskGroup() as group:
            incoming = group.create_task(self._take_input(terminal))
            outgoing = [
                group.create_task(self._send_output(channel, fd))
                for channel, fd in terminal.readers.items()
            ]
            code = await execution.wait()
            # A child that keeps the pipes open must not keep the caller waiting.
            await asyncio.wait(outgoing, timeout=1.0)
            for task in (incoming, *outgoing):
                task.cancel()
        return code

    async def _send_output(self, channel: int, fd: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
        )
        wanted = self._wanted.stdout if channel == STDOUT else self._wanted.stderr
        try:
            # A terminal whose last program has gone answers EIO.
            with contextlib.suppress(OSError):
                while chunk := await reader.read(_CHUNK_BYTES):
                    if wanted:
                        await self._send(channel, chunk)
        finally:
            transport.close()

    async def _take_input(self, terminal: Terminal) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, rest = message.data[0], message.data[1:]
            if channel == STDIN and terminal.stdin >= 0:
                await self._feed(terminal, rest)
            elif channel == CLOSE and rest[:1] == bytes([STDIN]):
                terminal.close_stdin()
            elif channel == RESIZE and terminal.master >= 0:
                with contextlib.suppress(msgspec.DecodeError, OSError, struct.error):
                    size = msgspec.json.decode(rest, type=_Size)
                    set_size(terminal.master, size.width, size.height)
        # The caller is gone: the program sees the end of its input, or a hang-up.
        terminal.close()

    async def _feed(self, terminal: Terminal, text: bytes) -> None:
        """Writes input as fast as the program takes it."""
        loop = asyncio.get_running_loop()
        os.set_blocking(terminal.stdin, False)
        while text and terminal.stdin >= 0:
            try:
                text = text[os.write(terminal.stdin, text) :]
            except BlockingIOError:
                free = asyncio.Event()
                loop.add_writer(terminal.stdin, free.set)
                try:
                    await free.wait()
                finally:
                    loop.remove_writer(terminal.stdin)
            except OSError:
                terminal.close_stdin()

    async def _send(self, channel: int, text: bytes) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._socket.send_bytes(bytes([channel]) + text)
