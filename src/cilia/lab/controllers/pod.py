"""What controllers ask of a pod: is it alive, ready, available?

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from datetime import UTC, datetime

from cilia.lab.controllers.cluster import Object, is_terminating


def phase(pod: Object) -> str:
    """The pod's phase; a new one is Pending."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def has_ended(pod: Object) -> bool:
    """Whether all of its containers ended for good."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether it counts as a replica: neither ended nor being deleted."""
    return not has_ended(pod) and not is_terminating(pod)


def ready_since(pod: Object) -> datetime | None:
    """Since when the pod is ready; None: it is not."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            return parse_time(condition.get("lastTransitionTime"))
    return None


def is_ready(pod: Object) -> bool:
    """Whether the pod says that it can serve."""
    return ready_since(pod) is not None


def is_available(pod: Object, min_ready_s: int, now: datetime) -> bool:
    """Whether the pod has been ready for `min_ready_s` seconds."""
    since = ready_since(pod)
    return since is not None and (now - since).total_seconds() >= min_ready_s


def parse_time(text: str | None) -> datetime:
    """A Kubernetes time stamp (RFC 3339); a missing one is the epoch."""
    if not text:
        return datetime.fromtimestamp(0, UTC)
    return datetime.fromisoformat(text)


def render_time(moment: datetime) -> str:
    """A time stamp as Kubernetes writes it, to the second.

    >>> render_time(datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC))
    '2024-05-06T07:08:09Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
