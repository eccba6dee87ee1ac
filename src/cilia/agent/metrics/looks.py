"""What is looked at when somebody asks: kernel counters, and the tables as they are."""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from prometheus_client.metrics_core import Metric

from cilia import __version__
from cilia.agent.metrics.families import Values, look, number
from cilia.agent.parts import Parts
from cilia.agent.views import policy_enabled
from cilia.datapath.maps.metric import MetricMap, MetricRow, event_stats
from cilia.kernel.maps import Map
from cilia.model.identities import Scope, scope_of
from cilia.model.reasons import FIRST_DROP, drop_reason
from cilia.model.reserved import ReservedIdentity
from cilia.runtime.table import Table

Row = TypeVar("Row")
Found = TypeVar("Found")

POLICY_DENIED = 133
ENFORCEMENTS = ("none", "ingress", "egress", "both")
IDENTITY_TYPES = {
    Scope.CLUSTER: "cluster_local",
    Scope.LOCAL: "node_local",
    Scope.REMOTE_NODE: "remote_node",
    Scope.RESERVED: "reserved",
    Scope.USER_RESERVED: "well_known",
}


class Looks:
    """A collector over one agent's rooms."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        tables = parts.tables
        self._identities = Remembered(tables.identities, _identity_counts)
        self._prefixes = Remembered(
            tables.ipcache, lambda table: Counter(row.source for row in table)
        )

    def collect(self) -> Iterable[Metric]:
        """Returns all of it, as it is now."""
        yield from kernel_counts(self._parts.maps)
        yield from map_operations(self._parts.maps)
        yield from self._endpoints()
        yield from self._policies()
        yield from self._addresses()
        yield from self._rest()
        yield from features(self._parts)

    def _endpoints(self) -> Iterable[Metric]:
        rows = self._parts.tables.endpoints.snapshot()
        states = Counter({"ready": 0}) + Counter(str(row.state) for row in rows)
        states.setdefault("ready", 0)
        enforced = Counter(policy_enabled(row) for row in rows)
        for word in ENFORCEMENTS:
            enforced.setdefault(word, 0)
        yield number("endpoint", len(rows))
        yield look("endpoint_state", _by_word(states))
        yield look("policy_endpoint_enforcement_status", _by_word(enforced))

    def _policies(self) -> Iterable[Metric]:
        engine, tables = self._parts.policy.engine, self._parts.tables
        behind = {name for row in tables.policy_enforcements for name in row.missing}
        yield number("policy", len(engine.subjects.policies))
        yield number("policy_max_revision", engine.revision)
        yield number("policy_refused", sum(bool(row.error) for row in tables.policy_statuses))
        yield number("policy_endpoints_behind", len(behind))

    def _addresses(self) -> Iterable[Metric]:
        kinds, sources = self._identities.value()
        of_rules = len(self._parts.kernel_ipcache.prefixes())
        types = {**kinds, "node_local": kinds.get("node_local", 0) + of_rules}
        yield look("identity", _by_word(types))
        yield look("identity_label_sources", _by_word(sources))
        yield look("ipcache_entries", _by_word({**self._prefixes.value(), "generated": of_rules}))
        pools = {f"ipv{pool.network.version}": pool for pool in self._parts.addresses.pools()}
        events = self._parts.addresses.events
        yield look(
            "ipam_events_total",
            [((action, f"ipv{version}"), n) for (action, version), n in sorted(events.items())],
        )
        yield look("ip_addresses", _by_word({word: pool.used for word, pool in pools.items()}))
        yield look("ipam_capacity", _by_word({word: p.capacity for word, p in pools.items()}))

    def _rest(self) -> Iterable[Metric]:
        parts = self._parts
        failing = {name: len(each.failing) for name, each in parts.reconcilers}
        yield number("controllers_failing", sum(map(bool, failing.values())))
        yield look("reconciler_errors_current", _by_word(failing))
        yield number("nodes_all_num", len(parts.tables.nodes))
        interval_s = parts.settings.values.conntrack_gc_interval_s
        yield look("datapath_conntrack_gc_entries", sorted(parts.accounting.census.items()))
        yield look("datapath_conntrack_gc_interval_seconds", [(("global",), interval_s)])
        yield look("version", [((__version__, "", platform.machine()), 1)])
        if parts.cluster.server:
            yield number("kubernetes_up", parts.cluster.status()["state"] != "Failure")
        tables = [each for each in vars(parts.tables).values() if isinstance(each, Table)]
        yield look("statedb_table_objects", [((each.name,), len(each)) for each in tables])
        yield look("statedb_table_revision", [((each.name,), each.revision) for each in tables])


class Remembered(Generic[Row, Found]):
    """What was found in a whole table, until the table changes."""

    def __init__(self, table: Table[Row], find: Callable[[Table[Row]], Found]) -> None:
        self._table = table
        self._find = find
        self._revision = -1
        self._found: Found | None = None

    def value(self) -> Found:
        """Returns what is found in the table as it is now."""
        if self._found is None or self._revision != self._table.revision:
            self._found, self._revision = self._find(self._table), self._table.revision
        return self._found


def _identity_counts(table: Table[Any]) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """How many identities there are by type, and by source of their labels."""
    numbers = {row.number for row in table} | {int(each) for each in ReservedIdentity}
    kinds = Counter(IDENTITY_TYPES[scope_of(each)] for each in numbers)
    sources = Counter(
        source for row in table for source in {label.partition(":")[0] for label in row.labels}
    )
    return kinds, sources


def kernel_counts(maps: Mapping[str, Map]) -> Iterable[Metric]:
    """Returns what programs counted, since the maps were made."""
    counts = traffic(MetricMap(maps).rows())
    for name in ("drop_count_total", "drop_bytes_total"):
        yield look(name, sorted(counts[name].items()))
    for name in ("forward_count_total", "forward_bytes_total"):
        yield look(name, sorted(counts[name].items()))
    stats = event_stats(maps)
    for name, values in (("sent", stats.sent), ("lost", stats.lost)):
        by_cpu = [((str(cpu),), value) for cpu, value in enumerate(values)]
        yield look(f"event_ring_{name}_total", by_cpu)


def traffic(rows: Iterable[MetricRow]) -> dict[str, dict[tuple[str, ...], int]]:
    """Returns packets and bytes by family and labels.

    What alerts ask for is there from the beginning, as 0: a rate needs two points. Calls of
    sockets that services refuse are drops in direction SERVICE, whatever their reason.
    """
    denied = drop_reason(POLICY_DENIED).text
    packets: dict[tuple[str, ...], int] = {(denied, way): 0 for way in ("INGRESS", "EGRESS")}
    forwarded: dict[tuple[str, ...], int] = {("INGRESS",): 0, ("EGRESS",): 0}
    volume, passed = dict(packets), dict(forwarded)
    for row in rows:
        way = row.direction.upper()
        is_drop = row.reason >= FIRST_DROP or (row.reason and way == "SERVICE")
        if is_drop:
            key: tuple[str, ...] = (drop_reason(row.reason).text, way)
            counts, sizes = packets, volume
        elif row.reason == 0:
            key, counts, sizes = (way,), forwarded, passed
        else:
            continue
        # Two reasons may have one text.
        counts[key] = counts.get(key, 0) + row.packets
        sizes[key] = sizes.get(key, 0) + row.bytes
    return {
        "drop_count_total": packets,
        "drop_bytes_total": volume,
        "forward_count_total": forwarded,
        "forward_bytes_total": passed,
    }


def map_operations(maps: Mapping[str, Map]) -> Iterable[Metric]:
    """Returns what this process did to maps."""
    yield look(
        "bpf_map_ops_total",
        [
            ((name, operation, "success" if done else "fail"), rows)
            for name, one in sorted(maps.items())
            for (operation, done), rows in sorted(one.operations.items())
        ],
    )
    yield look("bpf_map_refused_total", [((n,), one.refused) for n, one in sorted(maps.items())])


def features(parts: Parts) -> Iterable[Metric]:
    """Returns what this node is set up to do."""
    settings = parts.settings.values
    families = {
        (True, True): "ipv4-ipv6-dual-stack",
        (True, False): "ipv4-only",
        (False, True): "ipv6-only",
    }[settings.enable_ipv4, settings.enable_ipv6]
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    is_cluster = bool(parts.cluster.server)
    yield number("feature_adv_connect_and_lb_kube_proxy_replacement_enabled", 1)
    yield number("feature_network_policies_non_defaultdeny_policies_enabled", 1)
    for name, word in (
        ("controlplane_identity_allocation", "crd" if is_cluster else "file"),
        ("controlplane_ipam", "kubernetes" if is_cluster else "static"),
        ("datapath_config", "veth"),
        ("datapath_internet_protocol", families),
        ("datapath_kernel_version", release),
        ("datapath_network", "direct-routing"),
    ):
        yield look(f"feature_{name}", [((word,), 1)])
    modes = settings.policy_cidr_match_mode
    yield look("feature_network_policies_cidr_policies", [((mode,), 1) for mode in modes])


def _by_word(counts: Mapping[str, float]) -> Values:
    return [((word,), counts[word]) for word in sorted(counts)]
