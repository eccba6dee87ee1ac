"""What a log takes out of the store, against a plain walk over the same flows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.export.config import ExportConfigError, ExportLog
from cilia.hubble.export.source import CHUNK, Counts, Feed, Source, check_filters
from cilia.hubble.filters import compile_message_filters
from cilia.hubble.proto.flow import flow_pb2
from unit.hubble.export.made_export import add, events, feed_of, told

DROPS = {"verdict": ["DROPPED"]}


def log_of(**fields: object) -> ExportLog:
    return ExportLog(name="audit", file_path="/audit.log", **fields)  # type: ignore[arg-type]  # fields by name


def drained(source: Source) -> bytes:
    parts = []
    while not source.is_drained:
        parts.append(source.take())
    return b"".join(parts)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 40), st.booleans()),
        st.tuples(st.just("lose"), st.integers(1, 9), st.just(False)),
        st.tuples(st.just("take"), st.integers(1, 3), st.just(False)),
    ),
    max_size=30,
)


@settings(max_examples=30, deadline=None)
@given(steps=steps, only_drops=st.booleans())
def test_every_flow_once_in_order_and_losses_in_their_place(
    steps: list[tuple[str, int, bool]], only_drops: bool
) -> None:
    feed = feed_of()
    counts = Counts()
    source = Source(log_of(include_filters=(DROPS,) * only_drops), feed, 0, counts)
    expected: list[int | str] = []
    found = b""
    for action, count, dropped in steps:
        if action == "add":
            if dropped or not only_drops:
                expected += range(feed.scene.store.total, feed.scene.store.total + count)
            add(feed, count, type=1 if dropped else 4, subtype=133 if dropped else 0)
        elif action == "lose":
            feed.scene.store.report_lost(5, 1, count)
            expected.append(f"PERF_EVENT_RING_BUFFER:{count}")
        else:
            found += b"".join(source.take() for _ in range(count))
    found += drained(source)
    assert told(found) == expected
    assert counts.events == sum(isinstance(one, int) for one in expected)
    assert source.position == feed.scene.store.total


def test_the_same_flows_as_a_plain_walk_finds() -> None:
    feed = feed_of()
    add(feed, 60, type=1, subtype=133)
    add(feed, 60)
    log = log_of(
        include_filters=(DROPS, {"source_port": ["70", "71"]}),
        exclude_filters=({"experimental": {"cel_expression": ["_flow.l4.TCP.source_port < 9u"]}},),
    )
    allow = [flow_pb2.FlowFilter(verdict=[2]), flow_pb2.FlowFilter(source_port=["70", "71"])]
    deny = [flow_pb2.FlowFilter(source_port=[str(port) for port in range(9)])]
    passes = compile_message_filters(allow, deny)
    every = [feed.maker.flow(number) for number in range(120)]
    expected = [flow.l4.TCP.source_port for flow in every if passes(flow)]
    assert told(drained(Source(log, feed, 0, Counts()))) == expected
    assert expected[-2:] == [70, 71]


def test_who_was_overtaken_says_by_how_much() -> None:
    feed, counts = feed_of(capacity=50), Counts()
    source = Source(log_of(), feed, 0, counts)
    add(feed, 50)
    first = source.take()
    add(feed, 30)
    rest = drained(source)
    assert told(first) == list(range(CHUNK))
    assert told(rest) == [f"HUBBLE_RING_BUFFER:{30 - CHUNK}", *range(30, 80)]
    assert counts.overrun == counts.lost == 30 - CHUNK


def test_losses_that_the_store_forgot_are_counted_still() -> None:
    feed, counts = feed_of(), Counts()
    source = Source(log_of(), feed, 0, counts)
    for _ in range(1_500):
        feed.scene.store.report_lost(5, 0, 2)
    lines = events(drained(source))
    assert lines[0]["lost_events"]["num_events_lost"] == str(476 * 2)
    assert counts.lost == feed.scene.store.lost == 3_000


def test_a_mask_leaves_the_rest_out() -> None:
    feed = feed_of()
    add(feed, 1)
    log = log_of(field_mask=("source.pod_name", "verdict", "l4.TCP.destination_port"))
    (line,) = events(drained(Source(log, feed, 0, Counts())))
    assert line == {
        "flow": {
            "verdict": "FORWARDED",
            "l4": {"TCP": {"destination_port": 80}},
            "source": {"pod_name": "xwing"},
        },
        "node_name": "default/node-1",
        "time": "1970-01-01T00:00:00.000000001Z",
    }


def test_an_aggregate_counts_by_direction() -> None:
    feed = feed_of()
    log = log_of(field_aggregate=("source.pod_name", "verdict"), aggregation_interval="1h")
    source = Source(log, feed, 0, Counts())
    add(feed, 20)  # to an endpoint: ingress
    add(feed, 5, type=1, subtype=133, direction=1)
    add(feed, 2, reason=5)
    assert drained(source) == b""
    assert source.holds_groups
    lines = events(b"".join(source.take_groups()))
    assert [line["flow"] for line in lines] == [
        {
            "verdict": "FORWARDED",
            "source": {"pod_name": "xwing"},
            "aggregate": {"ingress_flow_count": 20, "unknown_direction_flow_count": 2},
        },
        {
            "verdict": "DROPPED",
            "source": {"pod_name": "xwing"},
            "aggregate": {"egress_flow_count": 5},
        },
    ]
    assert not source.holds_groups
    assert source.take_groups() == []


def test_too_many_groups_are_written_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cilia.hubble.export.aggregation.GROUPS", 10)
    feed = feed_of()
    log = log_of(field_aggregate=("l4.TCP.source_port",), aggregation_interval="1h")
    source = Source(log, feed, 0, Counts())
    add(feed, 35)
    lines = events(drained(source) + b"".join(source.take_groups()))
    assert sum(line["flow"]["aggregate"]["ingress_flow_count"] for line in lines) == 35


def test_what_a_filter_cannot_mean() -> None:
    feed: Feed = feed_of()
    with pytest.raises(ExportConfigError, match="flow log 'audit': source_ip 'x'"):
        check_filters(log_of(include_filters=({"source_ip": ["x"]},)), feed.scene)
