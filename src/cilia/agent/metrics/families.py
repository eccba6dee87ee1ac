"""Every family of metrics that the agent has: name, kind, labels, and what it says.

Names, kinds and labels are those of Cilium's agent where it counts the same thing; those
with `is_ours` are our own. The pages of documentation and the tests read this declaration.

Source: https://docs.cilium.io/en/stable/observability/metrics/
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX = "cilium_"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
"""From the shortest commit of policy to the longest wait for an API server; each costs time in
every scrape."""


class Family(msgspec.Struct, frozen=True):
    """One family."""

    name: str
    kind: str
    """counter, gauge or histogram."""
    labels: tuple[str, ...]
    text: str
    is_on: bool = True
    """Whether it is served unless it is switched off; else only when it is switched on."""
    is_ours: bool = False
    """Whether Cilium has no such family."""


def _families(
    kind: str, *rows: tuple[str, str, str], on: bool = True, ours: bool = False
) -> list[Family]:
    return [
        Family(PREFIX + name, kind, tuple(labels.split()), text, on, ours)
        for name, labels, text in rows
    ]


_DATAPATH = [
    *_families(
        "counter",
        ("drop_count_total", "reason direction", "Packets and socket calls that were dropped."),
        ("drop_bytes_total", "reason direction", "Bytes of packets that were dropped."),
        ("forward_count_total", "direction", "Packets that were let through."),
        ("forward_bytes_total", "direction", "Bytes of packets that were let through."),
        (
            "bpf_map_ops_total",
            "map_name operation outcome",
            "Rows that the agent wrote to and deleted from kernel maps.",
        ),
        (
            "datapath_conntrack_gc_runs_total",
            "family protocol status",
            "Sweeps of expired connections.",
        ),
    ),
    *_families(
        "gauge",
        ("bpf_map_pressure", "map_name", "Share of a kernel map's rows in use, 0 to 1."),
        ("bpf_map_capacity", "map_group", "Rows that fit into a kernel map."),
        ("bpf_maps", "", "Kernel maps of this node, event rings among them."),
        ("bpf_maps_virtual_memory_max_bytes", "", "Memory of this node's kernel maps."),
        ("bpf_progs", "", "Kernel programs of this node."),
        ("bpf_progs_virtual_memory_max_bytes", "", "Memory of this node's kernel programs."),
        (
            "datapath_conntrack_gc_entries",
            "family protocol status",
            "Connections that the last sweep found alive, and that it deleted.",
        ),
        ("datapath_conntrack_gc_interval_seconds", "global", "Time between two sweeps."),
    ),
    *_families(
        "histogram",
        (
            "datapath_conntrack_gc_duration_seconds",
            "family protocol status",
            "How long sweeps of expired connections took.",
        ),
    ),
]

_POLICY = [
    *_families(
        "gauge",
        ("policy", "", "Policy objects in force."),
        ("policy_max_revision", "", "Revision of the policies in force."),
        (
            "policy_endpoint_enforcement_status",
            "enforcement",
            "Endpoints by the directions that policy closes.",
        ),
        ("endpoint", "", "Endpoints of this node."),
        ("endpoint_state", "endpoint_state", "Endpoints by state."),
        ("identity", "type", "Identities known, by who else knows their number."),
        ("identity_label_sources", "source", "Identities with a label of this source."),
    ),
    *_families(
        "counter",
        ("policy_change_total", "outcome", "Policy objects taken in and refused."),
        ("endpoint_regenerations_total", "outcome", "Endpoints that policy was written for."),
        ("ipcache_errors_total", "type error", "Rounds of ipcache writes that failed."),
    ),
    *_families(
        "histogram",
        (
            "policy_implementation_delay",
            "source",
            "Seconds from hearing of a policy object to its being in the kernel.",
        ),
        (
            "policy_incremental_update_duration",
            "scope",
            "Seconds from a change of identities or policies to the kernel.",
        ),
        (
            "endpoint_regeneration_time_stats_seconds",
            "scope status",
            "How long each step of writing policy for endpoints took.",
        ),
    ),
]

_NODE = [
    *_families(
        "gauge",
        ("ip_addresses", "family", "Addresses that pods hold."),
        ("ipam_capacity", "family", "Addresses of this node's pod networks."),
        ("nodes_all_num", "", "Nodes of the cluster, this one among them."),
        ("event_ts", "source scope action", "When the last event was heard, seconds since 1970."),
        ("agent_bootstrap_seconds", "scope outcome", "How long the parts of the start took."),
        ("controllers_failing", "", "Reconcilers with rows that are not in place."),
        ("version", "version revision arch", "Always 1; the version is in the labels."),
    ),
    *_families(
        "counter",
        ("ipam_events_total", "action family", "Addresses of pods given out and taken back."),
        ("services_events_total", "action", "Changes of services that were worked on."),
        ("nodes_all_events_received_total", "event_type source", "Changes of nodes."),
        (
            "kubernetes_events_total",
            "scope action status",
            "Events of the API server that were worked on.",
        ),
        (
            "kubernetes_events_received_total",
            "scope action valid equal",
            "Events of the API server, by whether they were valid and changed nothing.",
        ),
        ("k8s_client_api_calls_total", "host method return_code", "Requests to the API server."),
        ("controllers_runs_total", "status", "Rounds of reconcilers."),
        ("controllers_group_runs_total", "group_name status", "Rounds of each reconciler."),
        ("errors_warnings_total", "level subsystem", "Lines of the log, errors and warnings."),
    ),
    *_families(
        "histogram",
        ("k8s_client_api_latency_time_seconds", "path method", "Answers of the API server."),
        (
            "agent_api_process_time_seconds",
            "path method return_code",
            "Answers of the agent's own API.",
        ),
        (
            "service_implementation_delay",
            "action",
            "Seconds from hearing of a service to its being in the kernel.",
        ),
        ("controllers_runs_duration_seconds", "status", "How long rounds of reconcilers took."),
    ),
]

_PROCESS = [
    *_families("counter", ("process_cpu_seconds_total", "", "CPU time of the agent.")),
    *_families(
        "gauge",
        ("process_max_fds", "", "File descriptors that the agent may open."),
        ("process_open_fds", "", "File descriptors that the agent has open."),
        ("process_resident_memory_bytes", "", "Memory of the agent."),
        ("process_start_time_seconds", "", "When the agent started, seconds since 1970."),
        ("process_virtual_memory_bytes", "", "Address space of the agent."),
    ),
]

_FEATURES = _families(
    "gauge",
    (
        "feature_adv_connect_and_lb_kube_proxy_replacement_enabled",
        "",
        "Whether services are in the kernel.",
    ),
    ("feature_controlplane_identity_allocation", "mode", "Where identities are kept."),
    ("feature_controlplane_ipam", "mode", "Where pods' addresses come from."),
    ("feature_datapath_config", "mode", "How pods are connected."),
    ("feature_datapath_internet_protocol", "address_family", "Families that pods have."),
    ("feature_datapath_kernel_version", "version", "The kernel."),
    ("feature_datapath_network", "mode", "How nodes reach each other's pods."),
    ("feature_network_policies_cidr_policies", "mode", "What CIDR rules match beside the world."),
    (
        "feature_network_policies_non_defaultdeny_policies_enabled",
        "",
        "Whether enableDefaultDeny is there.",
    ),
)

_QUIET = [
    *_families(
        "gauge",
        ("reconciler_errors_current", "module_id", "Rows that are not in place."),
        ("statedb_table_objects", "table", "Rows of a table."),
        ("statedb_table_revision", "table", "Revision of a table."),
        on=False,
    ),
    *_families(
        "counter",
        ("reconciler_errors_total", "module_id", "Rounds after which rows were not in place."),
        on=False,
    ),
]

_OURS = [
    *_families(
        "counter",
        (
            "policy_verdict_packets_total",
            "kind namespace policy direction verdict",
            "Packets that a policy let through or denied.",
        ),
        (
            "policy_verdict_bytes_total",
            "kind namespace policy direction verdict",
            "Bytes that a policy let through or denied.",
        ),
        (
            "policy_verdict_connections_total",
            "kind namespace policy direction verdict",
            "Connections that a policy let through.",
        ),
        ("bpf_map_refused_total", "map_name", "Rows that found no room in a kernel map."),
        ("event_ring_sent_total", "cpu", "Events that programs sent to the observer."),
        ("event_ring_lost_total", "cpu", "Events that found their ring full."),
        ours=True,
    ),
    *_families(
        "gauge",
        ("ipcache_entries", "source", "Prefixes whose identity is known, by who says so."),
        ("policy_refused", "", "Policy objects that are refused as they are now."),
        ("policy_endpoints_behind", "", "Endpoints that do not enforce what they should yet."),
        ("kubernetes_up", "", "Whether the API server answered the last request."),
        ours=True,
    ),
]

FAMILIES: dict[str, Family] = {
    one.name: one for one in (*_DATAPATH, *_POLICY, *_NODE, *_PROCESS, *_FEATURES, *_QUIET, *_OURS)
}

Values = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, in their order, and the number."""


def look(name: str, values: Values) -> Metric:
    """Returns a family as it was found just now.

    Args:
        name: Without its prefix.
    """
    family = FAMILIES[PREFIX + name]
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    found = kind(family.name, family.text, labels=family.labels)
    for labels, value in values:
        found.add_metric(labels, value)
    return found


def number(name: str, value: float) -> Metric:
    """Returns a family that has no labels."""
    return look(name, [((), value)])


def counter(name: str) -> Counter:
    """Returns a family to be counted where it happens."""
    family = FAMILIES[PREFIX + name]
    return Counter(family.name, family.text, family.labels, registry=None)


def gauge(name: str) -> Gauge:
    """Returns a family to be set where it happens."""
    family = FAMILIES[PREFIX + name]
    return Gauge(family.name, family.text, family.labels, registry=None)


def histogram(name: str) -> Histogram:
    """Returns a family to be timed where it happens."""
    family = FAMILIES[PREFIX + name]
    made: Any = Histogram(family.name, family.text, family.labels, registry=None, buckets=BUCKETS_S)
    assert isinstance(made, Histogram)
    return made


def family_of(metric: Metric) -> str:
    """Returns a metric's name as it is written: a counter's has its ending."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name
