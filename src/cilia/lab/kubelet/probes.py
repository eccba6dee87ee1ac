"""Readiness, liveness and startup probes.

Source: https://kubernetes.io/docs/tasks/configure-pod-container/
configure-liveness-readiness-startup-probes/
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable

from cilia.lab.kubelet.pod import Container, HttpAction, Probe
from cilia.lab.kubelet.runtime import close_writer
from cilia.model.errors import CiliaError

_FAST_S = 0.1

Execute = Callable[[list[str]], Awaitable[tuple[int, str]]]
"""Runs a command in the container: exit code and output."""


class Threshold:
    """Counts a probe's results; says when its verdict changes.

    Attributes:
        verdict: True or False; None while nothing is decided.
    """

    def __init__(self, probe: Probe, verdict: bool | None) -> None:
        self._needed = {True: probe.success_threshold, False: probe.failure_threshold}
        self._run: tuple[bool, int] = (True, 0)
        self.verdict = verdict

    def feed(self, success: bool) -> bool:
        """Takes one result in; whether a verdict is due (again, for failures)."""
        same, count = self._run
        self._run = (success, count + 1 if same == success else 1)
        if self._run[1] < self._needed[success]:
            return False
        changed = self.verdict is not success
        self.verdict = success
        return changed


class ProbeTarget:
    """Where a container's probes go."""

    def __init__(self, container: Container, address: str, execute: Execute) -> None:
        self._container = container
        self._address = address
        self._execute = execute

    async def check(self, probe: Probe) -> str:
        """Probes once: "" is success, else what was wrong."""
        try:
            async with asyncio.timeout(probe.timeout_seconds):
                if probe.exec is not None:
                    code, output = await self._execute(probe.exec.command)
                    return "" if code == 0 else output or f"exit code {code}"
                if probe.http_get is not None:
                    return await self._http(probe.http_get)
                if probe.tcp_socket is not None:
                    host = probe.tcp_socket.host or self._address
                    return await _tcp(host, self._port(probe.tcp_socket.port))
        except TimeoutError:
            return f"no answer in {probe.timeout_seconds} s"
        except (OSError, ValueError, CiliaError) as error:
            return str(error)
        return "the probe names no action; give it exec, httpGet or tcpSocket"

    def _port(self, port: int | str) -> int:
        if isinstance(port, int) or port.isdecimal():
            return int(port)
        for known in self._container.ports:
            if known.name == port:
                return known.container_port
        raise ValueError(f"the container has no port named {port}")

    async def _http(self, action: HttpAction) -> str:
        host = action.host or self._address
        port = self._port(action.port)
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        headers = {"Host": shown, "User-Agent": "kube-probe/1.35", "Accept": "*/*"}
        headers |= {header.name: header.value for header in action.http_headers}
        lines = [f"GET {action.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        request = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
        reader, writer = await asyncio.open_connection(host, port, ssl=action.scheme == "HTTPS")
        try:
            writer.write(request)
            parts = (await reader.readline()).split()
        finally:
            await close_writer(writer)
        if len(parts) < 2 or not parts[1].isdigit():
            return "the answer is not HTTP"
        return (
            ""
            if 200 <= int(parts[1]) < 400
            else f"HTTP probe failed with statuscode: {int(parts[1])}"
        )


async def _tcp(host: str, port: int) -> str:
    _, writer = await asyncio.open_connection(host, port)
    await close_writer(writer)
    return ""


async def repeat(
    probe: Probe,
    target: ProbeTarget,
    verdict: bool | None,
    decided: Callable[[bool], None],
    failed: Callable[[str], None],
) -> None:
    """Probes for ever.

    Args:
        probe: The probe.
        target: Where it goes.
        verdict: What is believed at first.
        decided: Called when enough results in a row say so.
        failed: Called with the reason of each failure.
    """
    threshold = Threshold(probe, verdict)
    await asyncio.sleep(probe.initial_delay_seconds)
    # During the first period a fast look every so often: a pod should not be unready
    # for a whole period because it needed a moment to listen.
    first_ends = time.monotonic() + probe.period_seconds
    pause = min(_FAST_S, float(probe.period_seconds))
    while True:
        problem = await target.check(probe)
        if problem and threshold.verdict is not None:
            failed(problem)
        if not problem or time.monotonic() >= first_ends:
            if problem and threshold.verdict is None:
                failed(problem)
            if threshold.feed(not problem):
                decided(not problem)
            pause = float(probe.period_seconds)
        await asyncio.sleep(pause)


async def collect(read_fd: int, limit: int = 10_000) -> str:
    """What a pipe delivers until its end, at most `limit` bytes; closes it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
    )
    try:
        out = b""
        with contextlib.suppress(OSError):
            while len(out) < limit and (chunk := await reader.read(limit - len(out))):
                out += chunk
        return out.decode(errors="replace")
    finally:
        transport.close()
