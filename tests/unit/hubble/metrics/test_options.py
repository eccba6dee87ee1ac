"""What is to be counted, as a list and as a file; mistakes say where and what to write."""

import contextlib

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.metrics.options import (
    MetricConfig,
    MetricsConfigError,
    parse_file,
    parse_metrics,
)
from cilia.hubble.proto.flow import flow_pb2
from unit.hubble.metrics.counting import Made


def test_a_list_is_split_into_metrics_options_and_values() -> None:
    text = "drop:sourceContext=pod|ip;labelsContext=source_pod,traffic_direction dns:query  tcp"
    assert parse_metrics(text) == (
        MetricConfig(
            "drop",
            (
                ("labelscontext", ("source_pod", "traffic_direction")),
                ("sourcecontext", ("pod", "ip")),
            ),
        ),
        MetricConfig("dns", (("query", ()),)),
        MetricConfig("tcp"),
    )


def test_a_file_says_the_same_and_has_filters() -> None:
    text = """
metrics:
- name: drop
  contextOptions:
  - {name: sourceContext, values: [pod, ip]}
  includeFilters:
  - source_pod: [default/xwing]
  - {event_type: [{type: 1}]}
  excludeFilters:
  - destinationPort: ["80"]
- name: dns
  contextOptions:
  - name: query
"""
    drop, dns = parse_file(text, "f")
    assert drop.options == (("sourcecontext", ("pod", "ip")),)
    assert drop.include == (
        flow_pb2.FlowFilter(source_pod=["default/xwing"]),
        flow_pb2.FlowFilter(event_type=[flow_pb2.EventTypeFilter(type=1)]),
    )
    assert drop.exclude == (flow_pb2.FlowFilter(destination_port=["80"]),)
    assert dns == MetricConfig("dns", (("query", ()),))


@pytest.mark.parametrize("text", ["", "metrics:", "metrics: []", "{}"])
def test_a_file_may_ask_for_nothing(text: str) -> None:
    assert parse_file(text, "f") == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("metrics: [", "f: not YAML"),
        ("[" * 1_000, "f: nested too deep"),
        ("#" * (1 << 21), "f: larger than"),
        ("metrics:\n- nmae: drop", r"f: .*metrics\[0\].*has name"),
        ("metric: []", "f: .*metric"),
        ("metrics:\n- name: drop\n  contextOptions: [{name: x, values: 3}]", "f: .*contextOptions"),
        (
            "metrics:\n- name: tcp\n- name: drop\n  includeFilters: [{sorce_pod: [a]}]",
            r"f: metrics\[1\]\.includeFilters\[0\]: .*sorce_pod",
        ),
    ],
)
def test_a_file_with_a_mistake_says_where(text: str, told: str) -> None:
    with pytest.raises(MetricsConfigError, match=told):
        parse_file(text, "f")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dorp", "'dorp' is unknown; there are dns, drop, flow"),
        ("drop drop:sourceContext=pod", "'drop' is there twice"),
        ("http httpV2", "http and httpV2 have the same names"),
        ("drop:sauceContext=pod", "metric drop: option 'saucecontext' is unknown; write source"),
        ("drop:sourceContext=pot", "metric drop: sourcecontext: 'pot' is unknown; there are iden"),
        ("drop:labelsContext=source_pot", "metric drop: labelscontext: 'source_pot' is unknown"),
        ("drop:query", "metric drop: option 'query' is unknown"),
        ("drop:=pod", "an option has no name"),
    ],
)
def test_a_mistake_names_the_metric_the_option_and_what_there_is(text: str, told: str) -> None:
    with pytest.raises(MetricsConfigError, match=told):
        Made(text)


def test_names_are_read_in_any_case() -> None:
    over = Made("Drop:SOURCECONTEXT=Pod;labelscontext=Source_Pod")
    assert next(metric.name for metric in over.metrics.collect()) == "hubble_drop"


def test_a_filter_that_cannot_be_compiled_is_refused() -> None:
    bad = MetricConfig("drop", (), (flow_pb2.FlowFilter(source_ip=["300.0.0.1"]),))
    with pytest.raises(MetricsConfigError, match=r"metric drop: includeFilters .*source_ip"):
        Made([bad])


FIELDS = [field.name for field in flow_pb2.FlowFilter.DESCRIPTOR.fields]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
ANY = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(FIELDS), inner, max_size=3)
    ),
    max_leaves=6,
)
FILTER = st.dictionaries(st.sampled_from(FIELDS), st.lists(ANY, max_size=2) | ANY, max_size=2)
ENTRY = st.fixed_dictionaries(
    {"name": st.sampled_from(["drop", "flow", "dns", "x"]) | ANY},
    optional={
        "contextOptions": st.lists(st.fixed_dictionaries({"name": ANY, "values": ANY})) | ANY,
        "includeFilters": st.lists(FILTER, max_size=2) | ANY,
        "excludeFilters": st.lists(FILTER, max_size=2) | ANY,
    },
)
FILE = st.fixed_dictionaries({"metrics": st.lists(ENTRY, max_size=2)}) | ANY


@given(FILE)
@settings(max_examples=40, deadline=None)
def test_whatever_is_in_a_file_is_understood_or_refused_with_one_kind_of_error(
    file: object,
) -> None:
    with contextlib.suppress(MetricsConfigError):
        Made(parse_file(yaml.safe_dump(file), "f"), capacity=1)
