"""The account of what rules let through, against one kept packet by packet."""

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.agent.rule_hits import Hits, RuleHits
from cilia.model.rules import Direction, PolicyKey
from cilia.policy.provenance import ProvenanceRule

POLICY = PolicyKey("CiliumNetworkPolicy", "shop", "p")
RULES = [
    ProvenanceRule(POLICY, f"spec.ingress[{index}]", index, Direction.INGRESS, "allow")
    for index in range(4)
]
SIDES: list[tuple[ProvenanceRule, ...]] = [(), (RULES[0],), (RULES[1], RULES[2]), (RULES[3],)]
KEY = np.dtype([("low", "V16"), ("high", "V16"), ("ports", "<u4"), ("protocol", "<u4")])
VALUE = np.dtype(
    [
        ("packets", "<u8", 2), ("bytes", "<u8", 2), ("first_seen", "<u8"),
        ("last_seen", "<u8", 2), ("provenance", "<u4", 2),
    ]
)  # fmt: skip
PEER = bytes(16)


class Moment:
    """A clock that stands still: 100 s after boot."""

    def now(self) -> float:
        return 1000.0

    def monotonic(self) -> float:
        return 100.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


class Flow:
    """One connection as the kernel counts it."""

    def __init__(self, port: int, born: int, sides: tuple[int, int]) -> None:
        self.key = (PEER, PEER, port, 6)
        self.born = born
        self.sides = sides
        self.packets = [0, 0]
        self.last = [0, 0]

    def row(self) -> tuple[Any, ...]:
        size = [count * 100 for count in self.packets]
        return (self.packets, size, self.born, self.last, self.sides)


def observe(hits: RuleHits, flows: list[Flow]) -> None:
    keys = np.array([flow.key for flow in flows], dtype=KEY)
    values = np.array([flow.row() for flow in flows], dtype=VALUE)
    hits.observe(keys, values)
    hits.fold(dict(enumerate(SIDES)), {POLICY})


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 3), st.tuples(st.integers(0, 3), st.just(0))),
        st.tuples(st.just("open"), st.integers(0, 3), st.tuples(st.just(0), st.integers(0, 3))),
        st.tuples(st.just("send"), st.integers(0, 3), st.integers(0, 1)),
        st.tuples(st.just("look"), st.just(0), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 3), st.just(0)),
    ),
    max_size=40,
)


@given(EVENTS)
def test_every_packet_is_booked_once_under_each_rule_behind_it(events: list[Any]) -> None:
    hits = RuleHits(Moment())
    flows: dict[int, Flow] = {}
    packets: Counter[ProvenanceRule] = Counter()
    connections: Counter[ProvenanceRule] = Counter()
    last: dict[ProvenanceRule, int] = {}
    for now, (what, port, argument) in enumerate(events, 1):
        if what == "open" and port not in flows:
            flows[port] = Flow(port, now, argument)
            connections.update(rule for side in argument for rule in SIDES[side])
        elif what == "send" and port in flows:
            flow = flows[port]
            flow.packets[argument] += 1
            flow.last[argument] = now
            for rule in (rule for side in flow.sides for rule in SIDES[side]):
                packets[rule] += 1
                last[rule] = now
        elif what == "end" and port in flows:
            observe(hits, list(flows.values()))  # the sweeper looks, then removes
            del flows[port]
        elif what == "look":
            observe(hits, list(flows.values()))
    observe(hits, list(flows.values()))
    for rule in RULES:
        count = packets[rule]
        assert hits.of(rule) == Hits(connections[rule], count, 100 * count, last.get(rule, 0))


def test_a_policy_that_is_gone_takes_its_account_along() -> None:
    hits = RuleHits(Moment())
    flow = Flow(1, 1, (1, 0))
    flow.packets, flow.last = [3, 2], [5, 4]
    observe(hits, [flow])
    assert hits.of(RULES[0]) == Hits(1, 5, 500, 5)
    hits.fold(dict(enumerate(SIDES)), set())
    assert hits.of(RULES[0]) == Hits()


def test_the_last_hit_is_a_time_of_day() -> None:
    hits = RuleHits(Moment())
    assert hits.last_hit(Hits(1, 1, 1, 90_000_000_000)) == 990.0
    assert hits.last_hit(Hits()) is None


def test_a_judgement_that_changes_books_what_follows_under_the_new_rules() -> None:
    hits = RuleHits(Moment())
    flow = Flow(1, 1, (1, 0))
    flow.packets, flow.last = [3, 0], [5, 0]
    observe(hits, [flow])
    flow.sides, flow.packets = (3, 0), [10, 0]
    observe(hits, [flow])
    assert (hits.of(RULES[0]).packets, hits.of(RULES[3]).packets) == (3, 7)
