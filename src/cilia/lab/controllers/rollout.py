"""How many replicas each generation of a Deployment should have next.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
"""

import msgspec


class Generation(msgspec.Struct, frozen=True):
    """One ReplicaSet of a Deployment, in numbers."""

    wanted: int
    """Replicas that it asks for now."""
    available: int
    present: int
    """Pods that it has, available or not."""


class Limits(msgspec.Struct, frozen=True):
    """What a rolling update must hold to."""

    replicas: int
    surge: int
    """Pods that may exist beyond `replicas`."""
    unavailable: int
    """Pods that may be missing below `replicas`."""


def limits(replicas: int, surge: int | str, unavailable: int | str) -> Limits:
    """Limits from a Deployment's numbers or percentages.

    A percentage of surge is rounded up, of unavailability down; were both zero,
    nothing could move, so one pod may then be unavailable.

    >>> limits(2, "25%", "25%")
    Limits(replicas=2, surge=1, unavailable=0)
    >>> limits(4, 0, 0)
    Limits(replicas=4, surge=0, unavailable=1)
    """
    more = -(-_share(replicas, surge) // 100)
    fewer = _share(replicas, unavailable) // 100
    return Limits(replicas, more, min(fewer if more or fewer else 1, replicas))


def rolling(bounds: Limits, new: Generation, old: list[Generation]) -> tuple[int, list[int]]:
    """Next wanted replicas of the new generation and of the old ones (oldest first)."""
    after = _grow(bounds, new, old)
    new_now = Generation(after, new.available, new.present)
    return after, _shrink(bounds, new_now, old)


def recreate(replicas: int, old: list[Generation]) -> tuple[int | None, list[int]]:
    """Next wanted replicas when all old pods go before the first new one comes.

    The first value is None while old pods are there: the new generation keeps
    what it has.
    """
    gone = all(generation.present == 0 for generation in old)
    return (replicas if gone else None), [0] * len(old)


def _share(replicas: int, value: int | str) -> int:
    """A number or percentage of `replicas`, in hundredths."""
    if isinstance(value, str) and value.endswith("%"):
        return replicas * int(value[:-1])
    return int(value) * 100


def _grow(bounds: Limits, new: Generation, old: list[Generation]) -> int:
    if new.wanted >= bounds.replicas:
        return bounds.replicas
    room = bounds.replicas + bounds.surge - new.wanted - sum(one.wanted for one in old)
    return new.wanted + max(0, min(room, bounds.replicas - new.wanted))


def _shrink(bounds: Limits, new: Generation, old: list[Generation]) -> list[int]:
    wanted = [generation.wanted for generation in old]
    least = bounds.replicas - bounds.unavailable
    coming = max(0, new.wanted - new.available)
    spare = new.wanted + sum(wanted) - least - coming
    # Replicas that do not serve anyway go first: they cost no availability.
    for index, generation in enumerate(old):
        broken = min(wanted[index], max(0, generation.wanted - generation.available))
        step = max(0, min(broken, spare))
        wanted[index] -= step
        spare -= step
    serving = new.available + sum(one.available for one in old)
    spare = min(spare, serving - least)
    for index in range(len(old)):
        step = max(0, min(wanted[index], spare))
        wanted[index] -= step
        spare -= step
    return wanted
