"""Hubble's metrics: flows counted as they are shown, collected when somebody asks."""

import logging
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from cilia.hubble.filters import InvalidFilterError, Scene, compile_filters
from cilia.hubble.filters.terms import Test, all_of
from cilia.hubble.metrics import handlers, requests
from cilia.hubble.metrics.batch import ADDRESSES, PORT, PROVENANCE, Batch, Look
from cilia.hubble.metrics.durations import Durations
from cilia.hubble.metrics.handlers import Handler
from cilia.hubble.metrics.options import MetricConfig, MetricsConfigError
from cilia.hubble.metrics.series import LIMIT, Cells, Counter
from cilia.hubble.metrics.tally import Tally
from cilia.hubble.metrics.workloads import WorkloadBytes
from cilia.hubble.parties import Party
from cilia.hubble.store import FlowStore

log = logging.getLogger(__name__)

HANDLERS: Mapping[str, type[Handler]] = {
    made.name.lower(): made
    for made in (
        requests.Dns,
        handlers.Drops,
        handlers.Flows,
        handlers.FlowsToWorld,
        requests.Http,
        requests.HttpV2,
        handlers.Icmp,
        requests.Kafka,
        handlers.PolicyVerdicts,
        handlers.PolicyNames,
        handlers.PortDistribution,
        handlers.TcpFlags,
    )
}
"""By name in lower case."""


class HubbleMetrics:
    """A collector of the metrics that are configured; none to begin with.

    Args:
        store: The flows; those that come from now on are counted.
        look: Where names come from.
        scene: For the filters of metrics.
        limit: How many series a metric may have.
        workloads: Bytes by workload, which are shown in any case.
    """

    def __init__(
        self,
        store: FlowStore,
        look: Look,
        scene: Scene,
        limit: int = LIMIT,
        workloads: WorkloadBytes | None = None,
    ) -> None:
        self.counted = store.total
        """Flows before this one are counted."""
        self.missed = 0
        """Flows that were overwritten before they were counted."""
        self._store = store
        self._look = look
        self._scene = scene
        self._limit = limit
        self._workloads = workloads
        self._cells = Cells()
        self.handlers: tuple[Handler, ...] = ()
        """What is configured, in that order."""
        self._tallies: tuple[Tally, ...] = ()
        self._parties: list[Party] = []
        self._version = (-1, -1)

    def configure(self, configs: Iterable[MetricConfig]) -> None:
        """Counts this from now on; what is configured as before keeps its counts.

        Raises:
            MetricsConfigError: One cannot be understood; then nothing changes.
        """
        configs = tuple(configs)
        _check_names(configs)
        tests = [_test(config, self._scene) for config in configs]
        before = {handler.config.name.lower(): handler for handler in self.handlers}
        made: list[Handler] = []
        try:
            for config in configs:
                old = before.get(config.name.lower())
                kept = old if old is not None and old.config == config else None
                made.append(kept or self._made(config))
        except MetricsConfigError:
            _close(set(made) - set(self.handlers))
            raise
        self.count()
        _close(set(self.handlers) - set(made))
        self.handlers = tuple(made)
        self._tallies = self._grouped(made, tests)

    def _made(self, config: MetricConfig) -> Handler:
        return HANDLERS[config.name.lower()](config, self._cells, self._limit)

    def _grouped(self, made: list[Handler], tests: list[Test | None]) -> tuple[Tally, ...]:
        """Handlers that are asked together; not those with filters, nor those that tell ports
        apart: for them there are many more kinds of flows."""
        shared: dict[tuple[frozenset[str], frozenset[int] | None], list[Handler]] = {}
        found = []
        for handler, test in zip(made, tests, strict=True):
            columns = frozenset(handler.columns)
            own = [one for one in (handler.test, test) if one is not None]
            if not own and PORT not in columns:
                apart = columns & {ADDRESSES, PROVENANCE}
                shared.setdefault((apart, handler.kinds), []).append(handler)
            else:
                found.append(Tally((handler,), columns, handler.kinds, all_of(own), self._cells))
        for (_, kinds), some in shared.items():
            columns = frozenset().union(*(handler.columns for handler in some))
            found.append(Tally(some, columns, kinds, None, self._cells))
        return tuple(found)

    def count(self) -> None:
        """Counts every flow that is shown."""
        while self.count_some():
            pass

    def count_some(self) -> bool:
        """Counts some of the flows that are shown; whether there may be more."""
        store = self._store
        if self.counted < store.oldest:
            self.missed += store.oldest - self.counted
            self.counted = store.oldest
        rows = next(store.pieces(self.counted, store.shown), None)
        if rows is None:
            return False
        self._notice_names()
        if self._tallies:
            batch = Batch(rows, self._look)
            for tally in self._tallies:
                tally.add(batch)
        self.counted = rows.first + len(rows)
        return True

    def _notice_names(self) -> None:
        """What has come to be called otherwise gives other labels."""
        parties, heard = self._store.parties, self._store.heard
        before, self._version = self._version, (parties.version, heard.version)
        if before == self._version:
            return
        pairs = zip(self._parties, parties.rows, strict=False)
        is_renamed = any(one is not other for one, other in pairs)
        for tally in self._tallies:
            if is_renamed or (before[1] != heard.version and ADDRESSES in tally.columns):
                tally.forget()
        self._parties = list(parties.rows)

    def tend(self) -> None:
        """Gives the places of the quietest series to busier newcomers."""
        for metric in self._metrics():
            metric.tend()

    def _metrics(self) -> list[Counter | Durations]:
        workloads = [self._workloads.counter] if self._workloads else []
        return [*(metric for one in self.handlers for metric in one.metrics), *workloads]

    def activity(self) -> dict[str, int]:
        """For each pod that a series names: what its series have counted."""
        found: dict[str, int] = {}
        for metric in self._metrics():
            for pod, count in metric.activity().items():
                found[pod] = found.get(pod, 0) + count
        return found

    def forget(self, pods: frozenset[str]) -> None:
        """Ends the series of pods, `namespace/name` each."""
        for metric in self._metrics():
            metric.forget(pods)

    def collect(self) -> Iterator[Metric]:
        """Every metric, up to the newest flow that is shown."""
        self.count()
        if self._workloads:
            self._workloads.count()
        for metric in self._metrics():
            yield metric.collect()
        yield self._lost()
        yield from self._own()

    def _lost(self) -> Metric:
        lost = CounterMetricFamily(
            "hubble_lost_events_total", "Events that were lost, by where.", labels=["source"]
        )
        lost.add_metric(["perf_event_ring_buffer"], self._store.lost)
        lost.add_metric(["observer_events_queue"], 0)
        lost.add_metric(["hubble_ring_buffer"], self.missed + self._store.overrun)
        return lost

    def _own(self) -> Iterator[Metric]:
        """About the metrics themselves."""
        label = ["metric"]
        series = GaugeMetricFamily(
            "hubble_metrics_series", "Series of a metric, besides other.", labels=label
        )
        other = CounterMetricFamily(
            "hubble_metrics_other_total",
            "What a metric counted in its series other, because it has as many as it may have.",
            labels=label,
        )
        evicted = CounterMetricFamily(
            "hubble_metrics_evicted_total",
            "Series of a metric that gave their place to busier ones.",
            labels=label,
        )
        limit = GaugeMetricFamily(
            "hubble_metrics_series_limit", "How many series a metric may have.", self._limit
        )
        for metric in self._metrics():
            name = [metric.described.name]
            series.add_metric(name, len(metric))
            other.add_metric(name, metric.in_other)
            evicted.add_metric(name, metric.evicted)
        yield from (series, limit, other, evicted)


def _check_names(configs: tuple[MetricConfig, ...]) -> None:
    names = [config.name.lower() for config in configs]
    for config in configs:
        if config.name.lower() not in HANDLERS:
            known = ", ".join(made.name for made in HANDLERS.values())
            raise MetricsConfigError(f"metric {config.name!r} is unknown; there are {known}")
        if names.count(config.name.lower()) > 1:
            raise MetricsConfigError(f"metric {config.name!r} is there twice; write it once")
    if {"http", "httpv2"} <= set(names):
        raise MetricsConfigError("metrics http and httpV2 have the same names; write one of them")


def _test(config: MetricConfig, scene: Scene) -> Test | None:
    if not config.include and not config.exclude:
        return None
    if any(one.experimental.cel_expression for one in (*config.include, *config.exclude)):
        raise MetricsConfigError(
            f"metric {config.name}: cel_expression: every event would have to be made a flow to "
            "be counted; filter by fields"
        )
    try:
        return compile_filters(config.include, config.exclude, scene)
    except InvalidFilterError as error:
        raise MetricsConfigError(
            f"metric {config.name}: includeFilters or excludeFilters: {error}"
        ) from error


def _close(gone: set[Handler]) -> None:
    for handler in gone:
        for counter in handler.counters:
            counter.close()
