"""All metrics of one agent as one collector, and what of it is served."""

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cilia.agent.metrics.choice import chosen_families
from cilia.agent.metrics.counters import Counters, CountingHandler
from cilia.agent.metrics.families import PREFIX, family_of
from cilia.agent.metrics.following import Follower
from cilia.agent.metrics.looks import Looks
from cilia.agent.metrics.sampling import MapSampler
from cilia.agent.metrics.verdicts import Expected, PolicyVerdicts
from cilia.agent.parts import Parts
from cilia.agent.upkeep import ConnectionSweeper
from cilia.kernel.objects import Program
from cilia.model.errors import CiliaError
from cilia.runtime.exposition import MetricsServer
from cilia.runtime.services import Service
from cilia.wire.unixhttp import Handler, Request, Response, json_response

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Chosen:
    """A collector over collectors that shows the families that were chosen, by name."""

    def __init__(self, chosen: Set[str], collectors: Sequence[Collector]) -> None:
        self._chosen = chosen
        self._collectors = collectors

    def collect(self) -> Iterable[Metric]:
        """Returns the families that have a value."""
        found = [metric for each in self._collectors for metric in self._collected(each)]
        kept = [one for one in found if family_of(one) in self._chosen]
        for one in kept:
            # When each series began is a second series to everyone but the newest scrapers.
            one.samples = [each for each in one.samples if not each.name.endswith("_created")]
        return sorted((one for one in kept if one.samples), key=lambda one: one.name)

    def _collected(self, collector: Collector) -> list[Metric]:
        try:
            return list(collector.collect())
        except (CiliaError, OSError) as error:
            # A map that cannot be read must not hide what else there is to tell.
            name = type(collector).__name__
            log.warning("metrics left out", extra={"collector": name, "error": str(error)})
            return []


class Metrics:
    """One agent's metrics, and what must run for them.

    Args:
        programs: Of the kernel.

    Attributes:
        counters: What rooms count in; reconcilers and policy are told to.
        chosen: What is served.
        services: What must run: the server among it, if one is asked for.

    Raises:
        InvalidValue: The address or the choice of families is not understood.
    """

    def __init__(self, parts: Parts, counters: Counters, programs: Mapping[str, Program]) -> None:
        settings = parts.settings.values
        sampler = MapSampler(parts.site, parts.maps, programs, parts.clock)
        self.counters = counters
        self.chosen = Chosen(
            chosen_families(settings.metrics),
            (
                counters,
                Looks(parts),
                sampler,
                PolicyVerdicts(
                    lambda: parts.accounting.hits.account, Expected(parts.policy.engine)
                ),
                ProcessCollector(namespace=PREFIX.rstrip("_"), registry=None),
            ),
        )
        services: list[Service] = [sampler, Follower(parts.tables, parts.services, counters)]
        if settings.prometheus_serve_addr:
            services.append(MetricsServer(settings.prometheus_serve_addr, self.chosen))
        self.services = tuple(services)
        logging.getLogger().addHandler(CountingHandler(counters))
        parts.policy.observe = counters.note_commit
        for name, each in parts.reconcilers:
            each.observe = partial(counters.note_round, name)

    def follow_sweeps(self, sweeper: ConnectionSweeper) -> None:
        """Counts what a sweeper does."""
        sweeper.observe = self.counters.note_sweep

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Returns the route of the REST API: the model Metric of each value."""

        async def handler(request: Request) -> Response:
            return json_response(metrics_json(self.chosen))

        return [("GET", "/v1/metrics", handler)]


def metrics_json(chosen: Collector) -> list[Json]:
    """Returns the model Metric of each value, buckets among them."""
    return [
        {"name": sample.name, "value": sample.value, "labels": dict(sample.labels)}
        for metric in chosen.collect()
        for sample in metric.samples
    ]
