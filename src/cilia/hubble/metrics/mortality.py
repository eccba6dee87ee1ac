"""When series of a pod end: some time after the pod did."""

from collections.abc import Mapping, Set
from typing import Protocol

DELAY_S = 60.0
"""Scrapers see the last numbers of a pod before its series end."""


class LivingPods(Protocol):
    """Who knows the pods that there are."""

    async def living(self, among: Set[str]) -> Set[str] | None:
        """Those of `among`, `namespace/name` each, that exist; None when nobody can say."""


class Mortality:
    """Finds pods that are gone: not known for a while, and nothing counted for them.

    Args:
        delay_s: How long.
    """

    def __init__(self, delay_s: float = DELAY_S) -> None:
        self._delay_s = delay_s
        self._missing: dict[str, tuple[float, int]] = {}

    def gone(self, activity: Mapping[str, int], living: Set[str], now: float) -> frozenset[str]:
        """The pods whose series are to end.

        Args:
            activity: What was counted for each pod that has series.
            living: Pods that exist.
            now: Seconds of a clock that does not jump.
        """
        missing = {}
        for pod in activity.keys() - living:
            since, count = self._missing.get(pod, (now, -1))
            missing[pod] = (since, count) if count == activity[pod] else (now, activity[pod])
        self._missing = missing
        return frozenset(pod for pod, (since, _) in missing.items() if now - since >= self._delay_s)
