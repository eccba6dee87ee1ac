"""Every handler and every context option against a plain counter of flows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.filters import Scene, compile_filters
from cilia.hubble.metrics.options import MetricConfig, parse_metrics
from cilia.hubble.proto.flow import flow_pb2
from unit.hubble import test_filters as generated
from unit.hubble.made_records import WORLD, records
from unit.hubble.metrics.counting import NODE, Made
from unit.hubble.metrics.naive_counter import RULES, counted

WAYS = ["identity", "namespace", "pod", "pod-name", "dns", "ip", "reserved-identity",
        "workload", "workload-name", "app"]  # fmt: skip
SIDES = ["sourceContext", "destinationContext", "sourceIngressContext", "sourceEgressContext",
         "destinationIngressContext", "destinationEgressContext"]  # fmt: skip
LABELS = [
    *(f"{side}_{kind}" for side in ("source", "destination")
      for kind in ("ip", "pod", "namespace", "workload", "workload_kind", "app")),
    "traffic_direction",
]  # fmt: skip
FIRST = 700
FLOWS = generated.FLOW[FIRST:]
OWN = {"flows-to-world": ["any-drop", "port", "syn-only"]}


@st.composite
def wanted(draw: st.DrawFn) -> tuple[str, dict[str, list[str]]]:
    plugin = draw(st.sampled_from(sorted(RULES)))
    ways = st.lists(st.sampled_from(WAYS), min_size=1, max_size=3, unique=True)
    options = draw(st.dictionaries(st.sampled_from(SIDES), ways, max_size=3))
    if draw(st.booleans()):
        labels = st.lists(st.sampled_from(LABELS), min_size=1, max_size=5, unique=True)
        options["labelsContext"] = draw(labels)
    for name in OWN.get(plugin, []):
        if draw(st.booleans()):
            options[name] = []
    return plugin, options


def made(*configs: MetricConfig) -> Made:
    """Metrics over the last of the flows of the filters' test, which are of every kind."""
    over = Made(configs, store=generated.STORE)
    over.store.show(over.store.total)
    over.metrics.counted = FIRST
    return over


def config(plugin: str, options: dict[str, list[str]]) -> MetricConfig:
    parts = [
        f"{name}={(',' if name == 'labelsContext' else '|').join(values)}"
        for name, values in options.items()
    ]
    (parsed,) = parse_metrics(":".join([plugin, ";".join(parts)]))
    return parsed


@given(wanted())
@settings(max_examples=40, deadline=None)
def test_every_handler_counts_what_a_plain_counter_counts(
    case: tuple[str, dict[str, list[str]]],
) -> None:
    plugin, options = case
    expected = counted(plugin, options, FLOWS)
    assert made(config(plugin, options)).shown() == expected


def test_handlers_do_not_disturb_each_other() -> None:
    everything = made(*(config(plugin, {}) for plugin in RULES))
    expected = sum((counted(plugin, {}, FLOWS) for plugin in RULES), start=counted("tcp", {}, []))
    assert everything.shown() == expected


FILTERS = st.lists(
    st.sampled_from(
        [
            flow_pb2.FlowFilter(source_pod=["default/xwing"]),
            flow_pb2.FlowFilter(destination_label=["org=empire"]),
            flow_pb2.FlowFilter(verdict=[flow_pb2.DROPPED]),
            flow_pb2.FlowFilter(destination_port=["80"]),
            flow_pb2.FlowFilter(event_type=[flow_pb2.EventTypeFilter(type=5)]),
            flow_pb2.FlowFilter(source_ip=["10.0.1.0/24"]),
        ]
    ),
    max_size=2,
)


@given(st.sampled_from(sorted(RULES)), FILTERS, FILTERS)
@settings(max_examples=20, deadline=None)
def test_filters_choose_what_is_counted(
    plugin: str, include: list[flow_pb2.FlowFilter], exclude: list[flow_pb2.FlowFilter]
) -> None:
    test = compile_filters(include, exclude, Scene(generated.STORE, NODE))
    rows = next(generated.STORE.pieces(FIRST, generated.STORE.total))
    chosen = [FLOWS[at] for at in np.flatnonzero(test(rows))]
    over = made(MetricConfig(plugin, (), tuple(include), tuple(exclude)))
    assert over.shown() == counted(plugin, {}, chosen)


def test_a_party_that_learns_its_name_counts_by_it_from_then_on() -> None:
    over = Made("flow:sourceContext=pod")
    over.store.add(records(3), 0)
    over.store.show(3)
    assert set(values(over, "source")) == {""}
    over.see(records(2))
    assert values(over, "source") == {"": 3, "default/xwing": 2}


def test_an_address_is_called_as_its_own_pod_called_it_then() -> None:
    options = {"destinationContext": ["dns", "ip"], "sourceContext": ["dns"]}
    over = Made([config("flow", options)])
    rows = records(4, destination=np.void(WORLD), destination_identity=2, destination_endpoint=0)
    over.see(rows)
    over.metrics.count()
    over.store.heard.learn(7, "1.1.1.1", ("one.io", "uno.io"), 0)
    over.store.heard.learn(9, "1.1.1.1", ("other.io",), 0)
    over.see(rows)
    assert values(over, "destination") == {"1.1.1.1": 4, "one.io,uno.io": 4}
    assert over.flows()[-1].destination_names == ["one.io", "uno.io"]
    over.store.heard.learn(7, "1.1.1.1", ("new.io",), 1)
    over.see(rows[:2])
    assert values(over, "destination") == {"1.1.1.1": 4, "one.io,uno.io": 4, "new.io": 2}


def test_a_policy_that_is_named_late_is_asked_for_again() -> None:
    over = Made("policy-name")
    policies, over.names.policies = over.names.policies, lambda number: []  # type: ignore[method-assign]  # a stand-in for this test
    over.see(records(2, type=5, provenance=5))
    assert values(over, "policy") == {"unknown": 2}
    over.names.policies = policies  # type: ignore[method-assign]  # a stand-in for this test
    over.see(records(3, type=5, provenance=5))
    assert values(over, "policy") == {"unknown": 2, "rule1": 3}


def test_flows_that_nobody_named_yet_wait() -> None:
    over = Made("flow")
    over.store.add(records(3), 0)
    assert not over.shown()
    over.store.show(2)
    assert sum(over.shown().values()) == 2


def test_what_was_overwritten_is_missed_and_told() -> None:
    over = Made("flow", capacity=100)
    over.see(records(150))
    assert sum(over.shown().values()) == 100
    lost = over.shown("hubble_lost_events_total")
    assert lost["hubble_lost_events_total", frozenset({("source", "hubble_ring_buffer")})] == 50


@pytest.mark.parametrize("text", ["flow:sourceContext=ip", "port-distribution"])
def test_a_flood_of_new_addresses_or_ports_costs_no_more_than_so_many_looks(text: str) -> None:
    over = Made(text, limit=100_000, capacity=10_000)
    rows = records(6_000, source_identity=2, source_endpoint=0)
    rows["destination_port"] = np.arange(6_000)
    raw = np.zeros((6_000, 16), "u1")
    raw[:] = np.frombuffer(WORLD, "u1")
    raw[:, 14:] = np.arange(6_000, dtype=">u2").view("u1").reshape(-1, 2)
    rows["source"] = raw.view(rows["source"].dtype).reshape(rows["source"].shape)
    over.see(rows)
    label = "port" if text == "port-distribution" else "source"
    seen = values(over, label)
    assert sum(seen.values()) == 6_000
    assert seen["other"] == 6_000 - 1_024
    assert set(seen.values()) == {1, 6_000 - 1_024}


def values(over: Made, label: str) -> dict[str, int]:
    """How much was counted by each value of a label."""
    found: dict[str, int] = {}
    for (_, labels), count in over.shown().items():
        value = dict(labels)[label]
        found[value] = found.get(value, 0) + count
    return found
