"""The cap: what is kept, what is other, and that nothing ever shrinks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.metrics.durations import Durations
from cilia.hubble.metrics.series import Cells, Counter, Described

DESCRIBED = Described("hubble_made_total", "Made up.", ("reason", "port"), ("source",), ("port",))
NOBODY: frozenset[str] = frozenset()


def made(limit: int) -> tuple[Counter, Cells]:
    cells = Cells()
    return Counter(DESCRIBED, cells, limit), cells


def hit(counter: Counter, cells: Cells, source: str, times: int = 1, port: str = "80") -> None:
    for cell in counter.cells((source,), ("DENIED", port), frozenset({source})):
        cells.values[cell] += times


def shown(counter: Counter) -> dict[tuple[str, ...], int]:
    return {tuple(one.labels.values()): int(one.value) for one in counter.collect().samples}


def test_beyond_the_cap_everything_is_one_other_that_keeps_what_has_few_values() -> None:
    counter, cells = made(2)
    for source, times in (("a", 1), ("b", 2), ("c", 3), ("d", 4)):
        hit(counter, cells, source, times, port=source)
    assert shown(counter) == {
        ("DENIED", "a", "a"): 1,
        ("DENIED", "b", "b"): 2,
        ("DENIED", "other", "other"): 7,
    }
    assert counter.in_other == 7
    assert len(counter) == 2


def test_a_busy_newcomer_takes_the_place_of_the_quietest_from_zero() -> None:
    counter, cells = made(2)
    hit(counter, cells, "loud", 1_000)
    hit(counter, cells, "quiet", 5)
    hit(counter, cells, "new", 500)
    generation = cells.generation
    counter.tend()
    assert cells.generation > generation
    hit(counter, cells, "new", 7)
    hit(counter, cells, "quiet", 1)
    assert shown(counter) == {
        ("DENIED", "80", "loud"): 1_000,
        ("DENIED", "80", "new"): 7,
        ("DENIED", "other", "other"): 501,
    }
    assert counter.evicted == 1


def test_a_newcomer_that_is_hardly_busier_stays_in_other() -> None:
    counter, cells = made(1)
    hit(counter, cells, "first", 100)
    hit(counter, cells, "new", 201)
    counter.tend()
    assert counter.evicted == 0
    assert ("DENIED", "80", "first") in shown(counter)


def test_what_was_busy_long_ago_is_quiet_now() -> None:
    counter, cells = made(1)
    hit(counter, cells, "first", 1_000_000)
    counter.tend()
    hit(counter, cells, "new", 50)
    counter.tend()
    assert set(shown(counter)) == {("DENIED", "80", "new"), ("DENIED", "other", "other")}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 100)), st.just(("tend", 0))
        ),
        max_size=60,
    ),
    st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_nothing_is_lost_and_no_series_shrinks(events: list[tuple[str, int]], limit: int) -> None:
    counter, cells = made(limit)
    before: dict[tuple[str, ...], int] = {}
    total, ended = 0, 0
    for source, times in events:
        if source == "tend":
            counter.tend()
        else:
            hit(counter, cells, source, times)
            total += times
        now = shown(counter)
        ended += sum(count for labels, count in before.items() if labels not in now)
        assert all(now[labels] >= count for labels, count in before.items() if labels in now)
        assert len(counter) <= limit
        assert sum(now.values()) + ended == total
        before = now


def test_series_of_pods_that_are_gone_end_and_begin_anew() -> None:
    counter, cells = made(3)
    for source in ("a", "b"):
        hit(counter, cells, source, 5)
    assert counter.activity() == {"a": 5, "b": 5}
    counter.forget(frozenset({"a"}))
    assert shown(counter) == {("DENIED", "80", "b"): 5}
    hit(counter, cells, "a")
    assert shown(counter)["DENIED", "80", "a"] == 1


def test_a_handler_that_goes_gives_its_cells_back() -> None:
    counter, cells = made(2)
    for number in range(2_000):  # more than there are to begin with
        hit(counter, cells, f"{number}")
        counter.tend()
    assert len(cells.values) == 1_024
    counter.close()
    assert not cells.values.any()


def test_cells_grow_with_the_series() -> None:
    counter, cells = made(5_000)
    for number in range(3_000):
        hit(counter, cells, f"{number}", number + 1)
    assert shown(counter)["DENIED", "80", "2999"] == 3_000
    assert len(shown(counter)) == 3_000


def test_durations_are_buckets_and_have_the_same_cap() -> None:
    described = Described("hubble_took_seconds", "Took.", ("method",), ("source",), ("method",))
    took = Durations(described, limit=1)
    took.observe(("a",), ("GET",), frozenset({"ns/a"}), 0.005)
    took.observe(("a",), ("GET",), frozenset({"ns/a"}), 99.0, "trace")
    took.observe(("b",), ("GET",), NOBODY, 0.3)
    found = {
        (one.name.rpartition("_")[2], one.labels["source"], one.labels.get("le", "")): one
        for one in took.collect().samples
    }
    assert found["bucket", "a", "0.005"].value == 1
    assert found["bucket", "a", "10.0"].value == 1
    assert found["bucket", "a", "+Inf"].value == 2
    assert found["sum", "a", ""].value == pytest.approx(99.005)
    assert found["count", "other", ""].value == 1
    exemplar = found["bucket", "a", "+Inf"].exemplar
    assert exemplar is not None
    assert exemplar.labels == {"traceID": "trace"}
    assert took.in_other == 1
    took.forget(frozenset({"ns/a"}))
    assert {one.labels["source"] for one in took.collect().samples} == {"other"}
