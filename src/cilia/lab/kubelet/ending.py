"""Stopping a pod's containers: the hook, the signal, the grace, the end.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
"""

import asyncio
import contextlib
import signal
import time
from typing import Protocol

from cilia.lab.kubelet.runtime import Shim, ShimGone
from cilia.lab.kubelet.sandbox import Sandbox
from cilia.lab.kubelet.tracked import Tracked
from cilia.model.errors import CiliaError

_KILLED_S = 5.0


class Stoppable(Protocol):
    """What a pod's worker offers for this."""

    sandbox: Sandbox | None
    tracked: list[Tracked]
    changed: asyncio.Event

    def grace_seconds(self) -> float:
        """How long its containers may take; it may become less meanwhile."""

    async def execute(self, one: Tracked, command: list[str]) -> tuple[int, str]:
        """Runs a command in a container."""

    def report(
        self, reason: str, message: str, one: Tracked | None = None, *, warning: bool = False
    ) -> None:
        """Notes an event."""


class Ending:
    """The end of one pod's containers."""

    def __init__(self, pod: Stoppable) -> None:
        self._pod = pod
        self._running = [one for one in pod.tracked if one.is_running]

    async def stop(self) -> None:
        """Returns when none of them runs, or the sandbox is dead."""
        began = time.monotonic()
        for one in self._running:
            self._pod.report("Killing", f"Stopping container {one.name}", one)
        if self._pod.sandbox is None:
            return
        shim = self._pod.sandbox.shim
        with contextlib.suppress(ShimGone):
            await self._ask(shim)
            while any(one.is_running for one in self._running):
                left = began + self._pod.grace_seconds() - time.monotonic()
                if left <= 0:
                    break
                await self._wait(left)
            await self._force(shim)

    async def _ask(self, shim: Shim) -> None:
        for one in self._running:
            await self._pre_stop(one)
            await shim.signal(one.name, signal.SIGTERM)

    async def _force(self, shim: Shim) -> None:
        for one in self._running:
            if one.is_running:
                await shim.signal(one.name, signal.SIGKILL)
        deadline = time.monotonic() + _KILLED_S
        while any(one.is_running for one in self._running) and time.monotonic() < deadline:
            await self._wait(deadline - time.monotonic())

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._pod.changed.wait()
        self._pod.changed.clear()

    async def _pre_stop(self, one: Tracked) -> None:
        hook = one.container.lifecycle.pre_stop if one.container.lifecycle else None
        command = (hook or {}).get("exec", {}).get("command")
        if not command:
            return
        try:
            async with asyncio.timeout(self._pod.grace_seconds()):
                await self._pod.execute(one, command)
        except (TimeoutError, CiliaError, OSError) as error:
            text = f"PreStopHook failed: {error}"
            self._pod.report("FailedPreStopHook", text, one, warning=True)
