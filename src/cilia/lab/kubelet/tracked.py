"""What a worker knows of one container, and what follows from it: pure decisions.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cilia.lab.kubelet.pod import Container, Object
from cilia.lab.kubelet.shim.container import ContainerState

CALM_S = 600.0
"""A container that ran this long starts its back-off anew."""


@dataclass
class Tracked:
    """One container of a pod as it is now; times are seconds since the epoch."""

    container: Container
    is_init: bool = False
    runs: list[ContainerState] = field(default_factory=list)
    """The last run, and the one before it."""
    restarts: int = 0
    waiting: tuple[str, str] = ("ContainerCreating", "")
    """Reason and message while it does not run."""
    image_id: str = ""
    ready: bool = False
    started: bool = False
    next_try: float = 0.0
    backoff: float = 0.0

    @property
    def name(self) -> str:
        """The container's name."""
        return self.container.name

    @property
    def is_sidecar(self) -> bool:
        """Whether it is an init container that keeps running."""
        return self.is_init and self.container.restart_policy == "Always"

    @property
    def last(self) -> ContainerState | None:
        """Its latest run."""
        return self.runs[-1] if self.runs else None

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self.last is not None and not self.last["finished"]

    @property
    def has_completed(self) -> bool:
        """Whether its latest run ended well."""
        return self.last is not None and bool(self.last["finished"]) and not self.last["exit_code"]

    def note(self, state: ContainerState) -> bool:
        """Takes in a run's new state; False: it was known, and newer."""
        # A run's end may be told before the answer to its start is read.
        if any(run["id"] == state["id"] and run["finished"] for run in self.runs):
            return False
        self.runs = [*[run for run in self.runs if run["id"] != state["id"]][-1:], state]
        if state["finished"]:
            self.ready = False
            self.started = False
        return True


def will_restart(tracked: Tracked, policy: str) -> bool:
    """Whether a container that is not running is to be started (again).

    Args:
        tracked: The container.
        policy: The pod's restartPolicy.
    """
    if tracked.last is None or tracked.is_sidecar:
        return True
    if tracked.is_init:
        return not tracked.has_completed and policy != "Never"
    if policy == "Always":
        return True
    return policy == "OnFailure" and not tracked.has_completed


def next_backoff(tracked: Tracked, first: float, longest: float) -> float:
    """Seconds to wait before the next start; the first restart does not wait.

    >>> next_backoff(Tracked(Container("c", "i"), backoff=20.0), 10.0, 300.0)
    40.0
    """
    last = tracked.last
    if last is not None and last["finished"] - last["started"] > CALM_S:
        return 0.0
    if tracked.backoff == 0.0:
        return first if tracked.restarts else 0.0
    return min(tracked.backoff * 2, longest)


def init_failed(tracked: list[Tracked], policy: str) -> bool:
    """Whether an init container has failed for good."""
    return any(
        one.is_init and not one.is_running and one.last is not None and not one.has_completed
        and not will_restart(one, policy)
        for one in tracked
    )  # fmt: skip


def init_done(tracked: list[Tracked]) -> bool:
    """Whether the pod's own containers may run."""
    return all(
        one.started if one.is_sidecar else one.has_completed for one in tracked if one.is_init
    )


def due(tracked: list[Tracked], policy: str) -> list[Tracked]:
    """The containers whose turn it is, that do not run and should.

    Those that have ended for good are marked as waiting for nothing.
    """
    if init_failed(tracked, policy):
        return []
    if any(not one.is_init and one.last for one in tracked) or init_done(tracked):
        candidates = [one for one in tracked if not one.is_init or one.is_sidecar]
    else:
        candidates = _first_inits(tracked)
    out = []
    for one in candidates:
        if one.is_running:
            continue
        if will_restart(one, policy):
            out.append(one)
        else:
            one.waiting = ("", "")
    return out


def _first_inits(tracked: list[Tracked]) -> list[Tracked]:
    """Init containers up to the first that has not done its part."""
    out = []
    for one in tracked:
        if one.is_init:
            out.append(one)
            if not (one.started if one.is_sidecar else one.has_completed):
                break
    return out


def phase(tracked: list[Tracked], policy: str) -> str:
    """The pod's phase."""
    if init_failed(tracked, policy):
        return "Failed"
    apps = [one for one in tracked if not one.is_init]
    if not all(one.last is not None for one in apps):
        return "Pending"
    if any(one.is_running or will_restart(one, policy) for one in apps):
        return "Running"
    return "Succeeded" if all(one.has_completed for one in apps) else "Failed"


def restore(tracked: Sequence[Tracked], status: Object, *, adopted: bool) -> None:
    """Takes from a pod's status what a restart of the kubelet would forget."""
    known = {
        item["name"]: item
        for field in ("initContainerStatuses", "containerStatuses")
        for item in status.get(field) or []
    }
    for one in tracked:
        item = known.get(one.name, {})
        # The shim knows better about an adopted pod; a run without one was cut off.
        cut_off = not adopted and "containerID" in item
        one.restarts = item.get("restartCount", 0) + cut_off
        one.image_id = item.get("imageID", "")
        one.ready = bool(item.get("ready")) and adopted and not one.is_init
        one.started = bool(item.get("started")) and adopted
