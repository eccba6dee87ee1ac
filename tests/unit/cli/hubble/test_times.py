"""Times and selections of `observe`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.cli.hubble.selection import ALL, Selection, field_mask, selection_request
from cilia.cli.hubble.times import LAYOUTS, duration_ns, moment_ns, time_text
from cilia.hubble.proto.flow.flow_pb2 import Flow
from cilia.hubble.proto.observer.observer_pb2 import GetFlowsRequest

NOW = 1_790_000_000_123_456_789
LAYOUT_TEXTS = {
    "StampMilli": "Sep 21 14:13:20.123",
    "YearMonthDay": "2026-09-21",
    "YearMonthDayHour": "2026-09-21T14Z",
    "YearMonthDayHourMinute": "2026-09-21T14:13Z",
    "RFC3339": "2026-09-21T14:13:20Z",
    "RFC3339Milli": "2026-09-21T14:13:20.123Z",
    "RFC3339Micro": "2026-09-21T14:13:20.123456Z",
    "RFC3339Nano": "2026-09-21T14:13:20.123456789Z",
    "RFC1123Z": "Mon, 21 Sep 2026 14:13:20 +0000",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    seconds, ns = divmod(NOW, 10**9)
    assert time_text(seconds, ns, layout) == LAYOUT_TEXTS[layout]


def test_a_day_is_padded_and_a_nano_fraction_ends_early() -> None:
    assert time_text(5 * 86_400, 0, "StampMilli") == "Jan  6 00:00:00.000"
    assert time_text(0, 120_000_000, "RFC3339Nano") == "1970-01-01T00:00:00.12Z"


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_what_is_written_is_read(ns: int) -> None:
    text = time_text(*divmod(ns, 10**9), "RFC3339Nano")
    assert moment_ns(text, NOW) == ns


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "StampMilli"])
def test_layouts_are_read(layout: str) -> None:
    seconds, ns = divmod(NOW, 10**9)
    text = time_text(seconds, ns, layout)
    assert time_text(*divmod(moment_ns(text, NOW), 10**9), layout) == text


@pytest.mark.parametrize(
    ("text", "ns"),
    [("5m", 300 * 10**9), ("1h2m3s", 3723 * 10**9), ("250ms", 250 * 10**6), (".5s", 5 * 10**8)],
)
def test_durations_go_back(text: str, ns: int) -> None:
    assert duration_ns(text) == ns
    assert moment_ns(text, NOW) == NOW - ns


@pytest.mark.parametrize("text", ["", "5", "m", "5m3", "5 m", "-5m", "5x"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError):
        duration_ns(text)


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "2026-09-21T14:13:20.1234567890Z"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        moment_ns(text, NOW)


@pytest.mark.parametrize(
    ("chosen", "request_"),
    [
        (Selection(), {"number": 20}),
        (Selection(last=0), {"number": 0}),
        (Selection(last=7), {"number": 7}),
        (Selection(first=7), {"first": True, "number": 7}),
        (Selection(all=True), {"number": ALL}),
        (Selection(follow=True), {"follow": True}),
        (Selection(follow=True, last=3), {"follow": True, "number": 3}),
        (Selection(since="1s"), {"since": NOW - 10**9}),
        (Selection(until="1s"), {"until": NOW - 10**9}),
        (Selection(follow=True, until="1s"), {"follow": True}),
    ],
)
def test_selections(chosen: Selection, request_: dict[str, int]) -> None:
    assert selection_request(chosen, NOW) == request_


@pytest.mark.parametrize("output", ["compact", "dict", "table"])
def test_every_field_that_is_asked_for_exists(output: str) -> None:
    request = GetFlowsRequest()
    request.field_mask.paths.extend(field_mask(output, policies=True, grouped=True))
    assert request.field_mask.paths
    assert request.field_mask.IsValidForDescriptor(Flow.DESCRIPTOR)


def test_json_asks_for_all_fields() -> None:
    assert field_mask("json") == []
