"""The account of what rules deny, and the file in which the account outlives its agent."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.agent.hits_file import HitsFile
from cilia.agent.rule_hits import Account, Hits, RuleHits
from cilia.datapath.maps.denied import COLUMNS
from cilia.model.errors import CiliaError
from cilia.model.rules import Direction, PolicyKey
from cilia.policy.provenance import ProvenanceRule
from unit.agent.test_rule_hits import KEY, RULES, SIDES, VALUE, Flow, Moment, observe

POLICY = PolicyKey("CiliumNetworkPolicy", "shop", "p")
OTHER = PolicyKey("CiliumNetworkPolicy", "shop", "q")
CLOSERS = tuple(
    ProvenanceRule(policy, "spec", -1, Direction.INGRESS, "default-deny")
    for policy in (POLICY, OTHER)
)
DENY = ProvenanceRule(POLICY, "spec.ingressDeny[0]", 0, Direction.INGRESS, "deny")
MEANING = {1: (DENY,), 2: CLOSERS}
REST = 99


def look(hits: RuleHits, counts: dict[int, int], now: int = 1) -> list[int]:
    """Takes in a denied map; the numbers that stood still."""
    rows = np.zeros(len(counts), COLUMNS)
    for row, (number, packets) in zip(rows, counts.items(), strict=True):
        row["number"], row["counters"], row["last_seen"] = number, (packets, packets * 60), now
    still = hits.observe_denied(rows, REST)
    return [int(number) for number in rows["number"][still]]


def fold(hits: RuleHits, meaning: Any = MEANING) -> None:
    hits.fold(meaning, {POLICY, OTHER})


STEPS = st.lists(
    st.tuples(st.sampled_from(["hit", "look", "fold", "restart", "remove"]), st.integers(1, 2)),
    max_size=40,
)


@given(STEPS)
def test_every_denied_packet_is_booked_once_under_each_rule(steps: list[Any]) -> None:
    hits = RuleHits(Moment())
    kernel: dict[int, int] = {}
    truth = {1: 0, 2: 0}
    for what, number in steps:
        if what == "hit":
            kernel[number] = kernel.get(number, 0) + 1
            truth[number] += 1
        elif what == "look":
            look(hits, kernel)
        elif what == "fold":
            fold(hits)
        elif what == "remove" and number in kernel:  # The agent makes room for others.
            look(hits, kernel)
            del kernel[number]
            hits.forget_denied(np.array([number], "<u4"))
            fold(hits)
        elif what == "restart":
            hits = RuleHits(Moment(), hits.account)
    look(hits, kernel)
    fold(hits)
    assert hits.of(DENY).packets == truth[1]
    assert {hits.of(rule).packets for rule in CLOSERS} == {truth[2]}
    assert hits.of(DENY).bytes == 60 * truth[1]
    assert hits.of(DENY).connections == 0


def test_a_counter_that_has_fallen_began_anew() -> None:
    hits = RuleHits(Moment())
    look(hits, {1: 7})
    look(hits, {1: 3})
    fold(hits)
    assert hits.of(DENY).packets == 10


def test_what_found_no_room_and_what_nobody_knows_is_told_apart_from_rules() -> None:
    hits = RuleHits(Moment())
    look(hits, {1: 2, REST: 5, 77: 4})
    fold(hits)
    assert (hits.of(DENY).packets, hits.rest.packets) == (2, 9)


def test_rows_that_stand_still_are_named() -> None:
    hits = RuleHits(Moment())
    assert look(hits, {1: 2, 2: 2}) == []
    assert look(hits, {1: 2, 2: 3}) == [1]


class At:
    """A clock at a place."""

    def __init__(self, now: float, monotonic: float) -> None:
        self._times = (now, monotonic)

    def now(self) -> float:
        return self._times[0]

    def monotonic(self) -> float:
        return self._times[1]

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def test_another_agent_goes_on_where_the_last_one_was_killed(tmp_path: Path) -> None:
    file, first = tmp_path / "hits", RuleHits(Moment())
    flow = Flow(1, 1, (1, 0))
    flow.packets, flow.last = [3, 2], [5, 4]
    observe(first, [flow])
    look(first, {2: 4})
    first.fold({1: SIDES[1], 2: CLOSERS}, {POLICY, OTHER})
    HitsFile(file, Moment(), "boot").write(first.account)
    look(first, {2: 100})  # Not kept: it is looked at again.

    second = RuleHits(Moment(), HitsFile(file, Moment(), "boot").read())
    flow.packets = [4, 2]
    observe_with(second, [flow], {})  # This one knows no number of the other's.
    look(second, {2: 6})
    fold(second, {})

    assert second.of(RULES[0]) == Hits(1, 6, 600, 5)
    assert [second.of(rule).packets for rule in CLOSERS] == [6, 6]
    assert second.since == first.since


def observe_with(hits: RuleHits, flows: list[Flow], meaning: Any) -> None:
    keys = np.array([flow.key for flow in flows], dtype=KEY)
    values = np.array([flow.row() for flow in flows], dtype=VALUE)
    hits.observe(keys, values)
    hits.fold(meaning, {POLICY, OTHER})


def test_after_a_reboot_counters_begin_anew_and_times_hold(tmp_path: Path) -> None:
    file = tmp_path / "hits"
    before = RuleHits(At(1000, 500))
    look(before, {1: 8}, now=400_000_000_000)
    fold(before)
    HitsFile(file, At(1000, 500), "one").write(before.account)

    later = At(2000, 10)
    after = RuleHits(later, HitsFile(file, later, "two").read())
    assert after.last_hit(after.of(DENY)) == pytest.approx(900)
    look(after, {1: 9}, now=5_000_000_000)
    fold(after)
    assert after.of(DENY).packets == 17
    assert after.last_hit(after.of(DENY)) == pytest.approx(1995)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x81\xa4boot\xc0", b"{}"])
def test_a_file_that_cannot_be_read_begins_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hits"
    assert HitsFile(file, Moment(), "boot").read() is None
    file.write_bytes(content)
    assert HitsFile(file, Moment(), "boot").read() is None


def test_a_truncated_file_begins_anew(tmp_path: Path) -> None:
    file, hits = tmp_path / "hits", RuleHits(Moment())
    look(hits, {1: 8})
    fold(hits)
    HitsFile(file, Moment(), "boot").write(hits.account)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert HitsFile(file, Moment(), "boot").read() is None


def test_a_file_that_cannot_be_written_keeps_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(CiliaError, match="not written to"):
        HitsFile(tmp_path / "gone" / "hits", Moment(), "boot").write(Account(1.0))


def test_nothing_is_written_when_nothing_has_moved(tmp_path: Path) -> None:
    file, hits = tmp_path / "hits", RuleHits(Moment())
    kept = HitsFile(file, Moment(), "boot")
    look(hits, {1: 8})
    fold(hits)
    kept.write(hits.account)
    file.unlink()
    look(hits, {1: 8})
    fold(hits)
    kept.write(hits.account)
    assert not file.exists()
    look(hits, {1: 9})
    fold(hits)
    kept.write(hits.account)
    assert file.exists()


SETS = st.dictionaries(
    st.integers(1, 12),
    st.lists(st.sampled_from([*CLOSERS, DENY, *RULES]), min_size=1, unique=True).map(tuple),
    max_size=6,
)


@given(st.lists(SETS, min_size=1, max_size=8))
def test_a_file_written_over_and_over_holds_what_was_written_last(meanings: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        one = HitsFile(Path(folder) / "hits", Moment(), "boot")
        for meaning in meanings:
            totals = {rules[0]: Hits(packets=number) for number, rules in meaning.items()}
            account = Account(5.0, totals, Hits(), meaning)
            one.write(account)
            found = one.read()
            assert found is not None
            assert (found.numbers, found.totals) == (meaning, totals)
