"""Which probes of a pod's containers are at work."""

import asyncio
from collections.abc import Awaitable, Callable

from cilia.lab.kubelet.probes import ProbeTarget, repeat
from cilia.lab.kubelet.starter import Report
from cilia.lab.kubelet.tracked import Tracked

Execute = Callable[[Tracked, list[str]], Awaitable[tuple[int, str]]]
Decided = Callable[[Tracked, str, bool], None]


class ProbeWatch:
    """Runs the probes of one pod's containers."""

    def __init__(
        self, group: asyncio.TaskGroup, execute: Execute, decided: Decided, report: Report
    ) -> None:
        """`decided` gets the container, the probe's kind, and whether it is good."""
        self._group = group
        self._execute = execute
        self._decided = decided
        self._report = report
        self._tasks: dict[str, tuple[str, list[asyncio.Task[None]]]] = {}

    def ensure(self, one: Tracked, address: str) -> None:
        """Makes the probes of a container's current run be at work.

        Readiness and liveness wait for the startup probe. Without a startup probe
        a container has started, without a readiness probe it is ready.
        """
        if one.last is None:
            return
        run = one.last["id"]
        known = self._tasks.get(one.name)
        if known is not None and known[0] == run:
            if one.started and one.container.startup_probe is not None and len(known[1]) == 1:
                known[1].extend(self._after_startup(one, address))
            return
        self.stop(one.name)
        if one.container.startup_probe is None:
            one.started = True
        tasks: list[asyncio.Task[None]] = []
        if one.container.startup_probe is not None and not one.started:
            tasks.append(self._begin(one, address, "startup", None))
        else:
            tasks += self._after_startup(one, address)
        self._tasks[one.name] = (run, tasks)

    def stop(self, name: str) -> None:
        """Ends the probes of a container."""
        for task in self._tasks.pop(name, ("", []))[1]:
            task.cancel()

    def stop_all(self) -> None:
        """Ends all probes."""
        for name in list(self._tasks):
            self.stop(name)

    def _after_startup(self, one: Tracked, address: str) -> list[asyncio.Task[None]]:
        tasks = []
        if one.container.readiness_probe is None:
            one.ready = True
        else:
            tasks.append(self._begin(one, address, "readiness", one.ready or None))
        if one.container.liveness_probe is not None:
            tasks.append(self._begin(one, address, "liveness", True))
        return tasks

    def _begin(
        self, one: Tracked, address: str, kind: str, verdict: bool | None
    ) -> asyncio.Task[None]:
        container = one.container
        probe = {
            "startup": container.startup_probe,
            "readiness": container.readiness_probe,
            "liveness": container.liveness_probe,
        }[kind]
        if probe is None:
            raise ValueError(f"container {one.name} has no {kind} probe")
        target = ProbeTarget(container, address, lambda command: self._execute(one, command))

        def failed(problem: str) -> None:
            text = f"{kind.capitalize()} probe failed: {problem}"
            self._report("Unhealthy", text, one, warning=True)

        def decided(good: bool) -> None:
            self._decided(one, kind, good)

        return self._group.create_task(repeat(probe, target, verdict, decided, failed))
