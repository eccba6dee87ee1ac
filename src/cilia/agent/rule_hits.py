"""What rules let through and what they deny: a running account over kernel counters.

    conntrack map ─┐
                   ├─ observe ─▶ by number ─ fold ─▶ by rule ─▶ file, REST
    denied map ────┘

Each look adds what every connection and every denied number has moved since the look
before to the rules behind it; the sweeper looks before it removes what has ended. The
kernel counts on while no agent runs, so an account that is read from its file goes on
where it was left. What an audited endpoint lets pass is a connection of the rules that
would have denied it.
"""

import threading
from collections.abc import Mapping, Set

import msgspec
import numpy as np

from cilia.agent.counters import Baseline, Rows
from cilia.datapath.maps.conntrack import connection_ids
from cilia.model.rules import PolicyKey
from cilia.policy.provenance import NO_PROVENANCE, ProvenanceRule
from cilia.runtime.clock import Clock

RuleSet = tuple[ProvenanceRule, ...]


class Hits(msgspec.Struct, frozen=True):
    """What one rule has let through, or denied."""

    connections: int = 0
    """Let through; what is denied begins none."""
    packets: int = 0
    """Of both directions."""
    bytes: int = 0
    last_ns: int = 0
    """CLOCK_MONOTONIC of the last packet, before 0 if that was in an earlier boot; 0: never."""

    def adding(self, more: "Hits") -> "Hits":
        """The sum of both."""
        later = max((each.last_ns for each in (self, more) if each.last_ns), default=0)
        return Hits(
            self.connections + more.connections,
            self.packets + more.packets,
            self.bytes + more.bytes,
            later,
        )


class Account(msgspec.Struct, frozen=True):
    """Everything that is known of the counters of one node, as its file keeps it."""

    since: float
    """Seconds since the epoch."""
    totals: dict[ProvenanceRule, Hits] = {}
    rest: Hits = Hits()
    """Denied, and not counted by rule: there was no room, or the rules are not known."""
    numbers: dict[int, RuleSet] = {}
    """The rules of every number that the kernel counts under, or may."""
    connections: Baseline = msgspec.field(default_factory=Baseline)
    denied: Baseline = msgspec.field(default_factory=Baseline)


class RuleHits:
    """The account of one node.

    `observe` and `observe_denied` may be called by any thread, the rest by the event loop's
    alone.

    Attributes:
        account: As it was folded last, whole in itself: what its baselines have passed is in
            its totals.
    """

    def __init__(self, clock: Clock, account: Account | None = None) -> None:
        self._clock = clock
        self.account = account or Account(clock.now())
        self._connections, self._denied = self.account.connections, self.account.denied
        self._lock = threading.Lock()
        self._fresh: dict[int, Hits] = {}
        self._fresh_denied: dict[int, Hits] = {}
        self._fresh_rest = Hits()
        # Of connections, and of what is denied: until each is looked at, what was known.
        self._counted = (set(self.account.numbers), set(self.account.numbers))

    @property
    def since(self) -> float:
        """When the account began, in seconds since the epoch."""
        return self.account.since

    @property
    def rest(self) -> Hits:
        """What was denied and could not be counted by rule."""
        return self.account.rest

    def observe(self, keys: Rows, values: Rows) -> None:
        """Takes in the whole conntrack map.

        Args:
            keys: Shape `(n,)`, struct conntrack_key.
            values: Shape `(n,)`, struct conntrack_entry.
        """
        ids = connection_ids(keys, values["first_seen"])
        packets, size = values["packets"].sum(axis=1), values["bytes"].sum(axis=1)
        counters = np.stack([packets, size], axis=1).astype(np.uint64)
        seen = values["last_seen"].max(axis=1, initial=0)
        numbers = values["provenance"]
        with self._lock:
            moved, is_new = self._connections.moved(ids, counters)
            for direction in (0, 1):
                column = numbers[:, direction]
                chosen = (column != NO_PROVENANCE) & ((moved[:, 0] > 0) | is_new)
                found = _sums(column[chosen], is_new[chosen], moved[chosen], seen[chosen])
                _add(self._fresh, found)
            self._connections = Baseline(ids, counters)
            self._counted = (set(np.unique(numbers).tolist()), self._counted[1])

    def observe_denied(self, rows: Rows, rest: int) -> Rows:
        """Takes in the whole denied map; which of its rows stood still, shape `(n,)`.

        Args:
            rows: As `DeniedMap.read` gives them.
            rest: The number of what found no room.
        """
        ids, counters = rows["number"].astype(np.uint64), rows["counters"]
        with self._lock:
            moved, _ = self._denied.moved(ids, counters, restarts=True)
            still: Rows = moved[:, 0] == 0
            chosen = ~still
            none_new = np.zeros(int(chosen.sum()), dtype=np.bool_)
            found = _sums(
                rows["number"][chosen], none_new, moved[chosen], rows["last_seen"][chosen]
            )
            self._fresh_rest = self._fresh_rest.adding(found.pop(rest, Hits()))
            _add(self._fresh_denied, found)
            self._denied = Baseline(ids, counters)
            self._counted = (self._counted[0], set(rows["number"].tolist()))
        return still

    def forget_denied(self, numbers: Rows) -> None:
        """Takes note of rows of the denied map that are removed: they begin anew, if ever."""
        with self._lock:
            self._denied = self._denied.without(numbers.astype(np.uint64))

    def fold(self, rules: Mapping[int, RuleSet], policies: Set[PolicyKey]) -> None:
        """Books what was observed under its rules, and forgets those of policies now gone.

        To be called often enough that the rules behind a number are still known.

        Args:
            rules: What each number means, that of earlier agents left out.
            policies: Those that there are.
        """
        with self._lock:
            fresh, self._fresh = self._fresh, {}
            denied, self._fresh_denied = self._fresh_denied, {}
            rest, self._fresh_rest = self._fresh_rest, Hits()
            counted = self._counted[0] | self._counted[1]
            # Before another look comes in: what these have passed is in what was taken.
            connections, held = self._connections, self._denied
        account = self.account
        # Connections outlive the agent that judged them, and what its numbers meant.
        used = counted | fresh.keys() | denied.keys()
        numbers = {n: found for n, found in account.numbers.items() if n in used}
        numbers |= {n: found for n, found in rules.items() if _is_of(found, policies)}
        for number in denied.keys() - numbers.keys():
            rest = rest.adding(denied.pop(number))
        totals = dict(account.totals)
        for number, hits in (*fresh.items(), *denied.items()):
            for rule in numbers.get(number, ()):
                totals[rule] = totals.get(rule, Hits()).adding(hits)
        kept = {rule: hits for rule, hits in totals.items() if rule.policy in policies}
        all_rest = account.rest.adding(rest)
        self.account = Account(account.since, kept, all_rest, numbers, connections, held)

    def of(self, rule: ProvenanceRule) -> Hits:
        """What one rule has let through, or denied."""
        return self.account.totals.get(rule, Hits())

    def last_hit(self, hits: Hits) -> float | None:
        """When that was, in seconds since the epoch; None: never."""
        if not hits.last_ns:
            return None
        ago = self._clock.monotonic() - hits.last_ns / 1e9
        return round(self._clock.now() - max(ago, 0.0), 3)


def _is_of(rules: RuleSet, policies: Set[PolicyKey]) -> bool:
    return any(rule.policy in policies for rule in rules)


def _sums(numbers: Rows, is_new: Rows, moved: Rows, seen: Rows) -> dict[int, Hits]:
    """What moved, by number; all of shape `(n,)`, `moved` of `(n, 2)`."""
    found, group = np.unique(numbers, return_inverse=True)
    sums = np.zeros((len(found), 3), dtype=np.uint64)
    last = np.zeros(len(found), dtype=np.uint64)
    np.add.at(sums, group, np.column_stack([is_new.astype(np.uint64), moved]))
    np.maximum.at(last, group, seen.astype(np.uint64))
    rows = zip(found.tolist(), sums.tolist(), last.tolist(), strict=True)
    return {number: Hits(new, packets, size, at) for number, (new, packets, size), at in rows}


def _add(to: dict[int, Hits], more: dict[int, Hits]) -> None:
    for number, hits in more.items():
        to[number] = to.get(number, Hits()).adding(hits)
