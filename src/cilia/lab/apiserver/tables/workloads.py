"""Tables of deployments, replica sets, stateful sets, daemon sets and jobs."""

from typing import Any

from cilia.lab.apiserver.errors import Json

from .cells import Printer, age, condition, human_duration, joined, selector_text

_IMAGES = [("Containers", "string", 1), ("Images", "string", 1), ("Selector", "string", 1)]


def _images(item: Json) -> list[str]:
    """Container names, images and selector of a workload."""
    spec = item.get("spec") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    return [
        joined([container.get("name") for container in containers]),
        joined([container.get("image") for container in containers]),
        selector_text(spec.get("selector")),
    ]


def _count(item: Json, name: str) -> int:
    return int((item.get("status") or {}).get(name) or 0)


def _replicas(item: Json) -> int:
    return int((item.get("spec") or {}).get("replicas") or 0)


def _deployment(item: Json) -> list[Any]:
    return [
        f"{_count(item, 'readyReplicas')}/{_replicas(item)}",
        _count(item, "updatedReplicas"),
        _count(item, "availableReplicas"),
        age(item),
        *_images(item),
    ]


def _replica_set(item: Json) -> list[Any]:
    return [
        _replicas(item),
        _count(item, "replicas"),
        _count(item, "readyReplicas"),
        age(item),
        *_images(item),
    ]


def _stateful_set(item: Json) -> list[Any]:
    names, images, _ = _images(item)
    return [f"{_count(item, 'readyReplicas')}/{_replicas(item)}", age(item), names, images]


def _daemon_set(item: Json) -> list[Any]:
    spec = ((item.get("spec") or {}).get("template") or {}).get("spec") or {}
    return [
        _count(item, "desiredNumberScheduled"),
        _count(item, "currentNumberScheduled"),
        _count(item, "numberReady"),
        _count(item, "updatedNumberScheduled"),
        _count(item, "numberAvailable"),
        ",".join(f"{k}={v}" for k, v in (spec.get("nodeSelector") or {}).items()) or "<none>",
        age(item),
        *_images(item),
    ]


def _job(item: Json) -> list[Any]:
    wanted = (item.get("spec") or {}).get("completions", 1)
    status = "Running"
    for kind, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        found = condition(item, kind)
        if found and found.get("status") == "True":
            status = word
    return [
        status,
        f"{_count(item, 'succeeded')}/{wanted}",
        human_duration(0) if status == "Running" else "",
        age(item),
        *_images(item),
    ]


PRINTERS = {
    "deployments.apps": Printer(
        [
            ("Ready", "string", 0),
            ("Up-to-date", "string", 0),
            ("Available", "string", 0),
            ("Age", "string", 0),
            *_IMAGES,
        ],
        _deployment,
    ),
    "replicasets.apps": Printer(
        [
            ("Desired", "integer", 0),
            ("Current", "integer", 0),
            ("Ready", "integer", 0),
            ("Age", "string", 0),
            *_IMAGES,
        ],
        _replica_set,
    ),
    "statefulsets.apps": Printer(
        [("Ready", "string", 0), ("Age", "string", 0), *_IMAGES[:2]], _stateful_set
    ),
    "daemonsets.apps": Printer(
        [
            ("Desired", "integer", 0),
            ("Current", "integer", 0),
            ("Ready", "integer", 0),
            ("Up-to-date", "integer", 0),
            ("Available", "integer", 0),
            ("Node Selector", "string", 0),
            ("Age", "string", 0),
            *_IMAGES,
        ],
        _daemon_set,
    ),
    "jobs.batch": Printer(
        [
            ("Status", "string", 0),
            ("Completions", "string", 0),
            ("Duration", "string", 0),
            ("Age", "string", 0),
            *_IMAGES,
        ],
        _job,
    ),
}
