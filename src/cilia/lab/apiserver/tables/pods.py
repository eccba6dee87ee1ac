"""Tables of pods."""

from typing import Any

from cilia.lab.apiserver.errors import Json

from .cells import Printer, age, condition, since

_COLUMNS = [
    ("Ready", "string", 0),
    ("Status", "string", 0),
    ("Restarts", "string", 0),
    ("Age", "string", 0),
    ("IP", "string", 1),
    ("Node", "string", 1),
    ("Nominated Node", "string", 1),
    ("Readiness Gates", "string", 1),
]


def _state_reason(status: Json) -> str:
    """Why a container is not running, or nothing."""
    state = status.get("state") or {}
    if waiting := state.get("waiting"):
        return str(waiting.get("reason") or "")
    if ended := state.get("terminated"):
        if ended.get("reason"):
            return str(ended["reason"])
        if ended.get("signal"):
            return f"Signal:{ended['signal']}"
        return f"ExitCode:{ended.get('exitCode', 0)}"
    return ""


def _init_reason(item: Json) -> str:
    """`Init:0/1` and its like while init containers run."""
    statuses = (item.get("status") or {}).get("initContainerStatuses") or []
    total = len((item.get("spec") or {}).get("initContainers") or [])
    for index, status in enumerate(statuses):
        state = status.get("state") or {}
        ended = state.get("terminated")
        if ended and ended.get("exitCode", 0) == 0:
            continue
        reason = _state_reason(status)
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{total}"
    return ""


def pod_status(item: Json) -> str:
    """The word in the STATUS column."""
    status = item.get("status") or {}
    phase = str(status.get("phase", "Unknown"))
    reason = status.get("reason") or phase
    running = False
    if init := _init_reason(item):
        reason = init
    else:
        for container in reversed(status.get("containerStatuses") or []):
            if why := _state_reason(container):
                reason = why
            elif container.get("ready") and "running" in (container.get("state") or {}):
                running = True
        if reason == "Completed" and running:
            ready = condition(item, "Ready")
            reason = "Running" if ready and ready.get("status") == "True" else "NotReady"
    if "deletionTimestamp" in item["metadata"]:
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if phase not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def _restarts(statuses: list[Json]) -> str:
    count = sum(status.get("restartCount", 0) for status in statuses)
    ends = [
        ended["finishedAt"]
        for status in statuses
        if (ended := (status.get("lastState") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    return f"{count} ({since(max(ends))} ago)" if count and ends else str(count)


def _cells(item: Json) -> list[Any]:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready = sum(bool(entry.get("ready")) for entry in statuses)
    gates = spec.get("readinessGates") or []
    met = 0
    for gate in gates:
        found = condition(item, gate.get("conditionType", ""))
        met += bool(found and found.get("status") == "True")
    return [
        f"{ready}/{len(spec.get('containers') or [])}",
        pod_status(item),
        _restarts(statuses),
        age(item),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{met}/{len(gates)}" if gates else "<none>",
    ]


PRINTERS = {"pods": Printer(_COLUMNS, _cells)}
