"""Which rules let something through, and how much: a running account over connections.

Each look at the conntrack map adds what every connection has moved since the look before
to the rules that it was let through by; the sweeper looks before it removes what has
ended. What a rule denies has no connection and is not counted here.
"""

import threading
from collections.abc import Callable, Set
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.model.rules import PolicyKey
from cilia.policy.provenance import NO_PROVENANCE, ProvenanceRule
from cilia.runtime.clock import Clock

Rows = NDArray[Any]
Rules = Callable[[int], tuple[ProvenanceRule, ...]]
"""The rules behind a provenance number."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


class Hits(msgspec.Struct, frozen=True):
    """What one rule has let through."""

    connections: int = 0
    packets: int = 0
    """Of both directions."""
    bytes: int = 0
    last_ns: int = 0
    """CLOCK_MONOTONIC of the last packet; 0: never."""

    def adding(self, more: "Hits") -> "Hits":
        """The sum of both."""
        return Hits(
            self.connections + more.connections,
            self.packets + more.packets,
            self.bytes + more.bytes,
            max(self.last_ns, more.last_ns),
        )


class RuleHits:
    """The account of one node since its agent started.

    `observe` may be called by any thread, the rest by the event loop's alone.

    Attributes:
        since: Seconds since the epoch.
    """

    def __init__(self, clock: Clock) -> None:
        self.since = clock.now()
        self._clock = clock
        self._lock = threading.Lock()
        self._fresh: dict[int, Hits] = {}
        self._totals: dict[ProvenanceRule, Hits] = {}
        self._ids = np.zeros(0, dtype=np.uint64)
        self._counters = np.zeros((0, 2), dtype=np.uint64)

    def observe(self, keys: Rows, values: Rows) -> None:
        """Takes in the whole conntrack map.

        Args:
            keys: Shape `(n,)`, struct conntrack_key.
            values: Shape `(n,)`, struct conntrack_entry.
        """
        ids = connection_ids(keys, values["first_seen"])
        packets, size = values["packets"].sum(axis=1), values["bytes"].sum(axis=1)
        counters = np.stack([packets, size], axis=1).astype(np.uint64)
        seen = values["last_seen"].max(axis=1)
        with self._lock:
            moved, is_new = self._since_before(ids, counters)
            for direction in (0, 1):
                self._add(values["provenance"][:, direction], moved, is_new, seen)
            order = np.argsort(ids)
            self._ids, self._counters = ids[order], counters[order]

    def _since_before(self, ids: Rows, counters: Rows) -> tuple[Rows, Rows]:
        """What each connection moved since the last look, and which were not there then."""
        place = np.searchsorted(self._ids, ids)
        inside = np.minimum(place, max(len(self._ids) - 1, 0))
        known = self._ids[inside] == ids if len(self._ids) else np.zeros(len(ids), dtype=np.bool_)
        before = np.zeros_like(counters)
        before[known] = self._counters[inside[known]]
        # Programs add while the map is read, so one counter may be read late and then early.
        return np.where(counters >= before, counters - before, np.uint64(0)), ~known

    def _add(self, numbers: Rows, moved: Rows, is_new: Rows, seen: Rows) -> None:
        chosen = (numbers != NO_PROVENANCE) & ((moved[:, 0] > 0) | is_new)
        found, group = np.unique(numbers[chosen], return_inverse=True)
        sums = np.zeros((len(found), 3), dtype=np.uint64)
        last = np.zeros(len(found), dtype=np.uint64)
        np.add.at(sums, group, np.column_stack([is_new[chosen].astype(np.uint64), moved[chosen]]))
        np.maximum.at(last, group, seen[chosen].astype(np.uint64))
        for number, (connections, packets, size), moment in zip(
            found.tolist(), sums.tolist(), last.tolist(), strict=True
        ):
            fresh = Hits(connections, packets, size, moment)
            self._fresh[number] = self._fresh.get(number, Hits()).adding(fresh)

    def fold(self, rules: Rules, policies: Set[PolicyKey]) -> None:
        """Books what was observed under its rules, and forgets those of policies now gone.

        To be called often enough that the rules behind a number are still known.
        """
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        for number, hits in fresh.items():
            for rule in rules(number):
                self._totals[rule] = self._totals.get(rule, Hits()).adding(hits)
        self._totals = {r: hits for r, hits in self._totals.items() if r.policy in policies}

    def of(self, rule: ProvenanceRule) -> Hits:
        """What one rule has let through."""
        return self._totals.get(rule, Hits())

    def last_hit(self, hits: Hits) -> float | None:
        """When that was, in seconds since the epoch; None: never."""
        if not hits.last_ns:
            return None
        ago = self._clock.monotonic() - hits.last_ns / 1e9
        return round(self._clock.now() - max(ago, 0.0), 3)


def connection_ids(keys: Rows, first_seen: Rows) -> NDArray[np.uint64]:
    """A number for each connection; another connection between the same ports has another.

    Shape `(n,)`. Of 64 bits, so that two of a million hardly ever share one.
    """
    words = np.ascontiguousarray(keys).view(np.uint64).reshape(len(keys), keys.dtype.itemsize // 8)
    mixed = first_seen.astype(np.uint64)
    for column in words.T:
        mixed = (mixed ^ column) * _MIX
        mixed ^= mixed >> _HALF
    result: NDArray[np.uint64] = mixed
    return result
