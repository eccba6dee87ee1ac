"""Merging by time, against sorting."""

from hypothesis import given
from hypothesis import strategies as st

from cilia.hubble.relay.merge import Limits, Merger

times = st.lists(st.integers(0, 50), max_size=30).map(sorted)
streams = st.dictionaries(st.sampled_from("abcd"), times, min_size=1)


def told(merger: Merger, now: float) -> list[int]:
    return [int(message) for message in merger.take(now)]


@given(streams, st.integers(1, 5), st.randoms(use_true_random=False))
def test_ended_streams_come_out_sorted(  # type: ignore[no-untyped-def]  # hypothesis' Random
    streams: dict[str, list[int]], length: int, random
) -> None:
    """Whichever stream comes first, and however little may wait."""
    merger = Merger(Limits(length), 0.0)
    left = {node: list(values) for node, values in streams.items()}
    for node in left:
        merger.join(node, 0.0)
    found: list[int] = []
    while left:
        ready = [node for node in sorted(left) if merger.has_room(node)]
        node = random.choice(ready)
        if left[node]:
            time = left[node].pop(0)
            merger.add(node, time, str(time).encode(), 0.0)
        else:
            del left[node]
            merger.leave(node)
        found += told(merger, 0.0)
    assert found == sorted(time for values in streams.values() for time in values)
    assert not len(merger)


def test_a_silent_node_is_waited_for_but_not_for_long() -> None:
    merger = Merger(Limits(drain_s=1.0), 0.0)
    for node in "ab":
        merger.join(node, 0.0)
    merger.add("a", 5, b"5", 0.2)
    assert told(merger, 0.5) == []
    assert merger.due(0.5) == 0.5
    merger.add("b", 3, b"3", 0.6)
    assert told(merger, 0.6) == [3]
    assert told(merger, 1.5) == []  # b has only just spoken
    assert told(merger, 1.6) == [5]
    assert merger.due(1.6) is None


def test_a_node_that_has_ended_is_not_waited_for() -> None:
    merger = Merger(Limits(), 0.0)
    for node in "ab":
        merger.join(node, 0.0)
    merger.add("a", 5, b"5", 0.0)
    merger.leave("b")
    assert told(merger, 0.0) == [5]


def test_what_is_late_in_the_past_waits_for_all_that_is_older() -> None:
    """However long the other node goes on telling it."""
    merger = Merger(Limits(drain_s=1.0), 0.0)
    for node in ("long", "short"):
        merger.join(node, 0.0)
    merger.add("short", 500, b"500", 0.0)
    found = []
    for step in range(100):
        merger.add("long", step, str(step).encode(), step / 2)
        found += told(merger, step / 2)
    assert found == list(range(100))
    merger.leave("long")
    assert told(merger, 50.0) == [500]


def test_a_clock_that_is_ahead_holds_up_neither_its_node_nor_the_others() -> None:
    """A flow of the future waits for `drain_s`, while others pass it."""
    merger = Merger(Limits(drain_s=1.0, catch_up_s=0.0), 0.0)
    for node in ("good", "ahead"):
        merger.join(node, 0.0)
    merger.add("ahead", 10**6, b"1000000", 0.0)
    found = []
    for step in range(1, 10):
        merger.add("good", step, str(step).encode(), step / 10)
        found += told(merger, step / 10)
    assert found == list(range(1, 10))
    assert told(merger, 1.0) == [10**6]


def test_a_busy_node_is_not_slowed_by_a_quiet_one() -> None:
    """Once the past is told; till then the quiet one is waited for as long as any."""
    merger = Merger(Limits(length=4, drain_s=1.0, catch_up_s=2.0), 0.0)
    for node in ("busy", "quiet"):
        merger.join(node, 0.0)
    for step in range(4):
        merger.add("busy", step, str(step).encode(), 0.5)
    assert not merger.has_room("busy")
    assert told(merger, 0.5) == []
    assert merger.due(0.5) == 0.5
    merger.add("quiet", 0, b"0", 0.9)
    assert told(merger, 0.9) == [0, 0]
    assert told(merger, 1.8) == []
    assert told(merger, 1.9) == [1, 2, 3]
    for step in range(4, 100):
        merger.add("busy", step, str(step).encode(), 2.1)
        assert told(merger, 2.1) == ([step - 3] if step > 6 else [])
    assert len(merger) == 3
    assert told(merger, 3.1) == [97, 98, 99]
