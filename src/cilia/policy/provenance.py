"""Which rules are behind a number that policy rows and events carry."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from cilia.model.rules import Direction, PolicyKey

NO_PROVENANCE = 0
REMEMBERED = 1 << 18
"""Rules in sets that no row uses any more and that are remembered all the same."""


class ProvenanceRule(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """One rule that had a part in a verdict."""

    policy: PolicyKey
    path: str
    """Field path within the object, as `spec.ingress[0]`; `spec` for what closed a direction."""
    index: int
    """Place of the entry in its list; -1 for a whole spec."""
    direction: Direction
    verdict: str
    """allow, deny or default-deny."""
    log: str = ""


class Provenance:
    """Sets of rules, numbered; a number is never given twice.

    Numbers that no row uses any more are remembered for a while, because events
    that carry them may still be on their way.
    """

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._numbers: dict[frozenset[ProvenanceRule], int] = {}
        self._rules: OrderedDict[int, tuple[ProvenanceRule, ...]] = OrderedDict()
        self._unsorted: set[int] = set()
        self._size = 0
        self._limit = 2 * REMEMBERED

    @property
    def next(self) -> int:
        """The number that the next new set of rules gets."""
        return self._next

    def number(self, rules: Iterable[ProvenanceRule]) -> int:
        """The number of a set of rules; NO_PROVENANCE for none."""
        key = frozenset(rules)
        if not key:
            return NO_PROVENANCE
        found = self._numbers.get(key)
        if found is None:
            found, self._next = self._next, self._next + 1
            self._numbers[key] = found
            self._rules[found] = tuple(key)
            self._unsorted.add(found)
            self._size += len(key)
        return found

    def rules(self, number: int) -> tuple[ProvenanceRule, ...]:
        """The rules behind a number, in order; none for NO_PROVENANCE or one long gone."""
        if number in self._unsorted:
            # Most numbers are never asked about, and a set of thousands takes long to sort.
            self._unsorted.discard(number)
            self._rules[number] = tuple(sorted(self._rules[number]))
        return self._rules.get(number, ())

    @property
    def is_crowded(self) -> bool:
        """True if much has come since the last `forget`: it is time for another."""
        return self._size > self._limit

    def forget(self, live: set[int]) -> None:
        """Forgets sets that no row uses, until those that are left have REMEMBERED rules.

        Args:
            live: The numbers that rows use. Of the others, those go first that no row used at
                the last call either.
        """
        for number in live & self._rules.keys():
            self._rules.move_to_end(number)
        dead = [(number, key) for number, key in self._rules.items() if number not in live]
        excess = sum(len(key) for _, key in dead) - REMEMBERED
        for number, key in dead:
            if excess <= 0:
                break
            del self._numbers[frozenset(key)], self._rules[number]
            self._unsorted.discard(number)
            self._size -= len(key)
            excess -= len(key)
        self._limit = self._size + REMEMBERED

    def table(self) -> Mapping[int, tuple[ProvenanceRule, ...]]:
        """Every number and its rules, in any order."""
        return self._rules
