"""Histograms of how long requests took.

Source:
    https://prometheus.io/docs/concepts/metric_types/#histogram
"""

from bisect import bisect_left

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar

from cilia.hubble.metrics.series import LIMIT, Described, Values

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: those that Prometheus' clients have."""


class _Series:
    def __init__(self, pods: frozenset[str]) -> None:
        self.pods = pods
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0
        self.exemplars: list[Exemplar | None] = [None] * (len(BUCKETS) + 1)


class Durations:
    """One histogram; beyond its limit of series it counts in `other`.

    Args:
        described: Its name and labels.
        limit: How many series it may have, besides `other`.
    """

    def __init__(self, described: Described, limit: int = LIMIT) -> None:
        self.described = described
        self.evicted = 0
        """No series gives its place to a busier one here."""
        self._limit = limit
        self._series: dict[Values, _Series] = {}
        self._others: dict[Values, _Series] = {}

    def __len__(self) -> int:
        return len(self._series)

    def observe(
        self,
        contexts: Values,
        own: Values,
        pods: frozenset[str],
        seconds: float,
        trace_id: str = "",
    ) -> None:
        """Counts one request."""
        labels = self.described.joined(contexts, own)
        if labels in self._series or len(self._series) < self._limit:
            one = self._series.setdefault(labels, _Series(pods))
        else:
            one = self._others.setdefault(self.described.other(own), _Series(frozenset()))
        at = bisect_left(BUCKETS, seconds)
        one.counts[at] += 1
        one.sum += seconds
        if trace_id:
            one.exemplars[at] = Exemplar({"traceID": trace_id}, seconds)

    def tend(self) -> None:
        """Nothing: who came first stays."""

    @property
    def in_other(self) -> int:
        """What was counted in `other`."""
        return sum(sum(one.counts) for one in self._others.values())

    def forget(self, pods: frozenset[str]) -> None:
        """Ends the series of pods that are gone."""
        self._series = {labels: one for labels, one in self._series.items() if not one.pods & pods}

    def activity(self) -> dict[str, int]:
        """For each pod that has series: what they have counted."""
        found: dict[str, int] = {}
        for one in self._series.values():
            for pod in one.pods:
                found[pod] = found.get(pod, 0) + sum(one.counts)
        return found

    def collect(self) -> Metric:
        """The metric as it is now."""
        name = self.described.name
        metric = Metric(name, self.described.text, "histogram")
        for labels, one in {**self._others, **self._series}.items():
            named = dict(zip(self.described.labels, labels, strict=True))
            total = 0
            for at, bound in enumerate((*BUCKETS, "+Inf")):
                total += one.counts[at]
                limits = named | {"le": str(bound)}
                metric.add_sample(f"{name}_bucket", limits, total, exemplar=one.exemplars[at])
            metric.add_sample(f"{name}_sum", named, one.sum)
            metric.add_sample(f"{name}_count", named, total)
        return metric
