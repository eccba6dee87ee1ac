"""Metrics over made flows, and what they show."""

from collections import Counter
from collections.abc import Iterable, Sequence

from prometheus_client.metrics_core import Metric

from cilia.hubble.filters import Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.metrics import HubbleMetrics, parse_metrics
from cilia.hubble.metrics.batch import Look
from cilia.hubble.metrics.options import MetricConfig
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import RECORD, KnownNames
from unit.hubble.metrics.naive_counter import Series

NODE = "default/node-1"


class Made:
    """A store of so many flows, with metrics on it.

    Args:
        text: What is counted, as in `hubble-metrics`, or parsed.
        limit: Series a metric.
    """

    def __init__(
        self,
        text: str | Sequence[MetricConfig] = "",
        *,
        limit: int = 1_000,
        capacity: int = 4_096,
        names: KnownNames | None = None,
        look: Look | None = None,
        store: FlowStore | None = None,
    ) -> None:
        self.names = names or KnownNames()
        self.store = FlowStore(RECORD, capacity) if store is None else store
        self.look = look or Look(self.store, self.names)
        self.metrics = HubbleMetrics(self.store, self.look, Scene(self.store, NODE), limit)
        self.metrics.configure(parse_metrics(text) if isinstance(text, str) else text)

    def see(self, rows: object) -> None:
        """Takes flows in and shows them, named."""
        self.store.add(rows, 0)  # type: ignore[arg-type]  # a stand-in with the same methods
        self.store.parties.join(self.names)
        self.store.show(self.store.total)

    def flows(self) -> list[flow_pb2.Flow]:
        """All of them, as readers see them."""
        maker = FlowMaker(self.store, self.names, NODE, "0")
        return [maker.flow(number) for number in range(self.store.oldest, self.store.total)]

    def shown(self, *metrics: str) -> Counter[tuple[str, Series]]:
        """Every series of hubble's metrics (or only of these), and its number."""
        return samples(self.metrics.collect(), metrics)


def samples(collected: Iterable[Metric], only: Sequence[str] = ()) -> Counter[tuple[str, Series]]:
    """The series that were collected; not those about metrics and losses."""
    found: Counter[tuple[str, Series]] = Counter()
    for metric in collected:
        for sample in metric.samples:
            own = sample.name.startswith(("hubble_metrics_", "hubble_lost_"))
            if sample.name in only or (not only and not own):
                found[sample.name, frozenset(sample.labels.items())] += int(sample.value)
    return found
