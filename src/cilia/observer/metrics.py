"""Hubble's metrics of this node, connected: counted from the store, shown over HTTP."""

from collections.abc import Iterator, Set
from http import HTTPStatus
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cilia import __version__
from cilia.hubble.filters import Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.metrics import HubbleMetrics, MetricsConfigError, parse_metrics
from cilia.hubble.metrics.batch import Look
from cilia.hubble.metrics.durations import Durations
from cilia.hubble.metrics.series import Cells, Counter, Described
from cilia.hubble.metrics.service import MetricsFile, MetricsService
from cilia.hubble.metrics.workloads import WorkloadBytes
from cilia.hubble.ports import Names
from cilia.hubble.store import FlowStore
from cilia.hubble.totals import Totals
from cilia.observer.names import fetch
from cilia.observer.settings import ObserverSettings
from cilia.runtime.exposition import MetricsServer
from cilia.runtime.services import Service
from cilia.runtime.settings import SettingsError


class AgentPods:
    """`hubble.metrics.mortality.LivingPods`, as the agent knows them.

    Args:
        socket: Of the agent.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def living(self, among: Set[str]) -> Set[str] | None:
        """Those of `among` that exist on this node or elsewhere; None without an agent."""
        endpoints = await fetch(self._socket, "/v1/endpoint")
        if endpoints is None:
            return None
        found = {
            (entry["status"].get("external-identifiers") or {}).get("pod-name", "")
            for entry in endpoints
        }
        if among <= found:
            return found
        addresses = await fetch(self._socket, "/v1/ip")
        if addresses is None:
            return None
        for entry in addresses:
            meta = entry.get("metadata") or {}
            found.add("/".join(filter(None, (meta.get("namespace", ""), meta.get("name", "")))))
        return found


class Scrapes:
    """A collector of what scrapers were answered."""

    def __init__(self) -> None:
        self._cells = Cells()
        name, text = "hubble_metrics_http_handler_request", "Answers to scrapers"
        self._answers = Counter(Described(f"{name}s_total", f"{text}.", ("code",)), self._cells)
        self._durations = Durations(
            Described(f"{name}_duration_seconds", f"{text}, how long they took.", ("code",))
        )

    def note(self, status: HTTPStatus, seconds: float) -> None:
        """Counts an answer."""
        code = str(status.value)
        self._cells.values[list(self._answers.cells((), (code,), frozenset()))] += 1
        self._durations.observe((), (code,), frozenset(), seconds)

    def collect(self) -> Iterator[Metric]:
        """What was counted so far."""
        yield self._answers.collect()
        yield self._durations.collect()


class NodeRegistry:
    """A collector of everything that this program shows.

    Args:
        parts: Collectors.
    """

    def __init__(self, *parts: Collector) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now."""
        for part in self._parts:
            yield from part.collect()


def metrics_services(
    settings: ObserverSettings,
    store: FlowStore,
    names: Names,
    totals: Totals,
    node: str,
    agent: Path,
    *others: Collector,
) -> tuple[Service, ...]:
    """The services that count and show metrics; none when they are off.

    Args:
        settings: Of the observer.
        store: The flows.
        names: Of policies.
        totals: Of connections.
        node: `<cluster>/<node>`.
        agent: The agent's socket.
        others: What else is shown.

    Raises:
        InvalidValue: The address cannot be understood.
        SettingsError: The list of metrics cannot.
    """
    if not settings.hubble_metrics_server:
        return ()
    scene = Scene(store, node, flow=FlowMaker(store, names, node, __version__).flow)
    limit = settings.hubble_metrics_series
    workloads = WorkloadBytes(totals.by_party, store.parties.rows, limit)
    metrics = HubbleMetrics(store, Look(store, names), scene, limit, workloads)
    try:
        metrics.configure(parse_metrics(settings.hubble_metrics))
    except MetricsConfigError as error:
        raise SettingsError(f"setting hubble-metrics: {error}") from error
    path = settings.hubble_dynamic_metrics_config_path
    file = MetricsFile(Path(path), metrics) if path else None
    scrapes = Scrapes()
    files: tuple[Collector, ...] = (file,) if file else ()
    registry = NodeRegistry(metrics, *files, scrapes, *others)
    address = settings.hubble_metrics_server
    server = MetricsServer(address, registry, "hubble metrics", scrapes.note)
    return (MetricsService(metrics, file, AgentPods(agent)), server)
