"""One pod's life: brings what runs to what the pod's object asks for.

A worker is one loop that looks at everything and does the next thing; whatever
happens (a new object, a container's end, a probe's verdict, a time that has
come) only wakes it. So every step can be repeated, and a kubelet that starts
anew is no special case.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time

from cilia.lab.images import UnknownImage
from cilia.lab.kubelet import launch, sandbox
from cilia.lab.kubelet.cni import LOOK_S, CniError, NetworkMissing
from cilia.lab.kubelet.ending import Ending
from cilia.lab.kubelet.environment import BadConfiguration
from cilia.lab.kubelet.node import NodeServices
from cilia.lab.kubelet.pod import Pod
from cilia.lab.kubelet.probes import collect
from cilia.lab.kubelet.publisher import Publisher
from cilia.lab.kubelet.runtime import RuntimeRefused, ShimGone, close_all
from cilia.lab.kubelet.sandbox import Sandbox
from cilia.lab.kubelet.shim.container import ContainerState
from cilia.lab.kubelet.starter import Starter
from cilia.lab.kubelet.status import pod_reference, pod_status
from cilia.lab.kubelet.tracked import (
    Tracked,
    due,
    next_backoff,
    phase,
    restore,
    will_restart,
)
from cilia.lab.kubelet.watcher import ProbeWatch
from cilia.model.errors import CiliaError
from cilia.wire.kubernetes import ApiError, ApiUnreachable

log = logging.getLogger(__name__)

_MAX_SANDBOX_BACKOFF_S = 10.0
_NETWORK_PATIENCE_S = 5.0
"""How long a pod waits without a word for a network that starts with the node."""


class Worker:
    """One pod's worker.

    Attributes:
        pod: The pod as the API server last had it.
        sandbox: Its sandbox, when it has one.
        tracked: Its containers, init containers first.
        settled: Set once it knows what runs.
        changed: Set when something happened that the loop must look at.
    """

    def __init__(self, services: NodeServices, pod: Pod, adopted: Sandbox | None) -> None:
        self._services = services
        self._config = services.config
        self.pod = pod
        self.sandbox = adopted
        self._adopt = adopted is not None
        self.tracked = [
            *(Tracked(one, is_init=True) for one in pod.spec.init_containers),
            *(Tracked(one) for one in pod.spec.containers),
        ]
        if pod.spec.init_containers:
            for one in self.tracked:
                one.waiting = ("PodInitializing", "")
        self.changed = asyncio.Event()
        self.settled = asyncio.Event()
        self._gone = False
        self._grace: float | None = None
        self._sandbox_attempts = 0
        self._sandbox_died = False
        self._sandbox_backoff = 0.0
        self._sandbox_due = 0.0
        self._publisher = Publisher(services.api, self.remove)
        self._starter = Starter(services, self.report)
        restore(self.tracked, pod.status, adopted=self._adopt)
        self._began = time.monotonic()

    # What others tell it

    def update(self, pod: Pod) -> None:
        """Takes in the pod's new object."""
        self.pod = pod
        self._publisher.note(pod.status)
        self.changed.set()

    @property
    def is_gone(self) -> bool:
        """Whether the API server does not have the pod any more."""
        return self._gone

    def remove(self) -> None:
        """Takes in that the pod is no longer at the API server."""
        self._gone = True
        self.changed.set()

    def find(self, container: str) -> Tracked | None:
        """The container of that name; the only one for an empty name."""
        for one in self.tracked:
            if one.name == container or (not container and not one.is_init):
                return one
        return None

    # The loop

    async def run(self) -> None:
        """Returns when the pod is gone, here and at the API server."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._probes = ProbeWatch(group, self.execute, self._on_probe, self.report)
            publishing = group.create_task(self._publisher.run(self.pod.path))
            try:
                if self._adopt:
                    await self._follow()
                self.settled.set()
                while not (self._gone or self.pod.metadata.deletion_timestamp):
                    self.changed.clear()
                    pause = await self._step()
                    self._publish()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self.changed.wait()
                await self._end()
            finally:
                self._probes.stop_all()
                publishing.cancel()
                await self._detach()

    async def _detach(self) -> None:
        """Lets go of the pod; it runs on."""
        if self.sandbox is not None:
            await self.sandbox.shim.disconnect()

    async def _step(self) -> float | None:
        """Does what is due; how many seconds until there may be more."""
        policy = self.pod.spec.restart_policy
        if phase(self.tracked, policy) in ("Succeeded", "Failed") or self._has_ended():
            await self._release()
            return None
        if self._sandbox_died:
            await self._lose_sandbox("its first process ended")
        if self.sandbox is None:
            pause = await self._make_sandbox()
            if pause is not None:
                return pause
        address = self.sandbox.record.ips[0] if self.sandbox and self.sandbox.record.ips else ""
        for one in self.tracked:
            if one.is_running:
                self._probes.ensure(one, address)
        pauses = [await self._start(one) for one in due(self.tracked, policy)]
        known = [pause for pause in pauses if pause is not None]
        return min(known, default=None)

    # Sandbox

    async def _make_sandbox(self) -> float | None:
        if (left := self._sandbox_due - time.monotonic()) > 0:
            return left
        try:
            self.sandbox = await sandbox.create(
                self._config, self._services.spawner, self.pod, self._sandbox_attempts
            )
        except (CniError, RuntimeRefused, OSError) as error:
            is_new = time.monotonic() - self._began < _NETWORK_PATIENCE_S
            if isinstance(error, NetworkMissing) and is_new:
                return LOOK_S
            self._sandbox_backoff = min(
                max(self._sandbox_backoff * 2, self._config.sandbox_backoff_s),
                _MAX_SANDBOX_BACKOFF_S,
            )
            message = f"Failed to create pod sandbox: {error}"
            self.report("FailedCreatePodSandBox", message, warning=True)
            log.warning("no sandbox", extra={"pod": self.pod.name, "error": str(error)})
            self._sandbox_due = time.monotonic() + self._sandbox_backoff
            return self._sandbox_backoff
        self._sandbox_attempts += 1
        self._sandbox_backoff = 0.0
        await self._follow()
        return None

    async def _follow(self) -> None:
        if self.sandbox is None:
            return
        try:
            states = await self.sandbox.watch(self._on_exit)
        except ShimGone as error:
            await self._lose_sandbox(str(error))
            return
        for state in states:
            self._note(state)
        followed = self.sandbox

        async def follow() -> None:
            await followed.shim.follow()
            if self.sandbox is followed:
                self._sandbox_died = True
                self.changed.set()

        self._group.create_task(follow())

    async def _lose_sandbox(self, why: str) -> None:
        lost, self.sandbox = self.sandbox, None
        self._sandbox_died = False
        if lost is None:
            return
        self.report(
            "SandboxChanged", f"Pod sandbox changed, it will be killed and re-created: {why}"
        )
        self._probes.stop_all()
        now = time.time()
        for one in self.tracked:
            if one.last is not None and one.is_running:
                one.note({**one.last, "finished": now, "exit_code": 137, "signal": 9})
        await lost.destroy()

    async def _release(self) -> None:
        """Gives the sandbox of a pod that has ended back."""
        released, self.sandbox = self.sandbox, None
        if released is not None:
            await released.destroy()

    # Containers

    async def _start(self, one: Tracked) -> float | None:
        now = time.time()
        if one.next_try > now:
            return one.next_try - now
        if self.sandbox is None:
            return 0.0
        try:
            state = await self._starter.start(self.pod, one, self.sandbox)
        except ShimGone as error:
            await self._lose_sandbox(str(error))
            return 0.0
        except UnknownImage as error:
            return self._refuse_image(one, str(error))
        except BadConfiguration as error:
            self.report("Failed", f"Error: {error}", one, warning=True)
            return self._postpone(one, "CreateContainerConfigError", str(error))
        except RuntimeRefused as error:
            self.report("Failed", f"Error: failed to start container: {error}", one, warning=True)
            return self._postpone(one, "RunContainerError", str(error))
        except (CiliaError, OSError) as error:
            return self._postpone(one, "CreateContainerError", str(error))
        self._note(state)
        # Again at once: its probes are to begin, or it has ended already.
        return 0.0

    def _postpone(self, one: Tracked, reason: str, message: str) -> float:
        one.backoff = min(max(one.backoff * 2, self._config.backoff_s), self._config.max_backoff_s)
        one.waiting = (reason, message)
        one.next_try = time.time() + one.backoff
        return one.backoff

    def _refuse_image(self, one: Tracked, message: str) -> float:
        image = one.container.image
        if one.waiting[0] not in ("ErrImagePull", "ImagePullBackOff"):
            self.report("Failed", f'Failed to pull image "{image}": {message}', one, warning=True)
            self.report("Failed", "Error: ErrImagePull", one, warning=True)
            # Shown for a moment, as a kubelet does, so that scripts that wait for it see it.
            return self._postpone(one, "ErrImagePull", message)
        self.report("BackOff", f'Back-off pulling image "{image}"', one)
        return self._postpone(
            one, "ImagePullBackOff", f'Back-off pulling image "{image}": {message}'
        )

    def _on_exit(self, state: ContainerState) -> None:
        self._note(state)
        self.changed.set()

    def _note(self, state: ContainerState) -> None:
        one = self.find(state["name"])
        if one is None:
            return
        if not one.note(state):
            return
        one.restarts = max(one.restarts, state["attempt"])
        if not state["finished"]:
            one.waiting = ("", "")
            return
        self._probes.stop(one.name)
        if not will_restart(one, self.pod.spec.restart_policy):
            one.waiting = ("", "")
            return
        if one.is_init or not one.has_completed or self.pod.spec.restart_policy == "Always":
            one.backoff = next_backoff(one, self._config.backoff_s, self._config.max_backoff_s)
            one.next_try = state["finished"] + one.backoff
            if one.backoff:
                text = f"back-off {one.backoff:g}s restarting failed container={one.name}"
                one.waiting = ("CrashLoopBackOff", f"{text} pod={self.pod.metadata.name}")
                self.report("BackOff", f"Back-off restarting failed container {one.name}", one,
                            warning=True)  # fmt: skip

    def _on_probe(self, one: Tracked, kind: str, good: bool) -> None:
        if kind == "readiness":
            one.ready = good
        elif kind == "startup" and good:
            one.started = True
        elif not good:
            text = f"Container {one.name} failed {kind} probe, will be restarted"
            self.report("Killing", text, one)
            self._group.create_task(self._kill(one, self.pod.spec.termination_grace_period_seconds))
        self.changed.set()

    async def _kill(self, one: Tracked, grace: float) -> None:
        victim = one.last
        if self.sandbox is None or victim is None:
            return
        with contextlib.suppress(ShimGone):
            await self.sandbox.shim.signal(one.name, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while one.is_running and one.last == victim and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            if one.is_running and one.last == victim:
                await self.sandbox.shim.signal(one.name, signal.SIGKILL)

    async def execute(self, one: Tracked, command: list[str]) -> tuple[int, str]:
        """Runs a command in a container: exit code and output."""
        if self.sandbox is None:
            raise ShimGone(f"pod {self.pod.name} has no sandbox")
        null = os.open("/dev/null", os.O_RDWR)
        read, write = os.pipe()
        program = launch.exec_program(command)
        try:
            running = await self.sandbox.shim.execute(
                one.name, program, (null, write, write), tty=False
            )
        except BaseException:
            close_all(read)
            raise
        finally:
            close_all(null, write)
        try:
            output = await collect(read)
            return await running.wait(), output
        finally:
            await running.close()

    def grace_seconds(self) -> float:
        """How long its containers may take to end."""
        if self._gone:
            return 0.0
        asked = self.pod.metadata.deletion_grace_period_seconds
        return float(self.pod.spec.termination_grace_period_seconds if asked is None else asked)

    # The end

    async def _end(self) -> None:
        """Stops everything and lets the API server forget the pod."""
        self._probes.stop_all()
        await Ending(self).stop()
        self._publish()
        await self._release()
        state, uid = self._config.site.state, self.pod.metadata.uid
        if not self._gone:
            # Who waits for the pod to be gone may look at how it ended.
            with contextlib.suppress(ApiError, ApiUnreachable):
                await self._publisher.flush(self.pod.path)
            await self._publisher.delete(self.pod)
        shutil.rmtree(launch.log_folder(state, self.pod, ""), ignore_errors=True)
        shutil.rmtree(launch.volume_folder(state, uid).parent, ignore_errors=True)

    # Status

    def _has_ended(self) -> bool:
        return self.pod.status.get("phase") in ("Succeeded", "Failed")

    def _publish(self) -> None:
        if self._has_ended() and not any(one.last for one in self.tracked):
            return
        ips = self.sandbox.record.ips if self.sandbox is not None else ()
        known = [item["ip"] for item in self.pod.status.get("podIPs") or []]
        status = pod_status(
            self.pod, self.tracked, ips or known, self._config.addresses, time.time()
        )
        self._publisher.publish(status)

    def report(
        self, reason: str, message: str, one: Tracked | None = None, *, warning: bool = False
    ) -> None:
        """Notes an event about the pod, or about one of its containers."""
        subject = pod_reference(self.pod, one)
        self._services.events.record(subject, reason, message, warning=warning)
