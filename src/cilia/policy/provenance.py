"""Which rules are behind a number that policy rows and events carry."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from cilia.model.rules import Direction, PolicyKey

NO_PROVENANCE = 0
REMEMBERED = 65536


class ProvenanceRule(msgspec.Struct, frozen=True, order=True):
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
        self._numbers: dict[tuple[ProvenanceRule, ...], int] = {}
        self._rules: OrderedDict[int, tuple[ProvenanceRule, ...]] = OrderedDict()

    @property
    def next(self) -> int:
        """The number that the next new set of rules gets."""
        return self._next

    def number(self, rules: Iterable[ProvenanceRule]) -> int:
        """The number of a set of rules; NO_PROVENANCE for none."""
        key = tuple(sorted(set(rules)))
        if not key:
            return NO_PROVENANCE
        found = self._numbers.get(key)
        if found is None:
            found, self._next = self._next, self._next + 1
            self._numbers[key] = found
            self._rules[found] = key
        return found

    def rules(self, number: int) -> tuple[ProvenanceRule, ...]:
        """The rules behind a number; none for NO_PROVENANCE or one long gone."""
        return self._rules.get(number, ())

    def forget(self, live: set[int]) -> None:
        """Forgets the oldest of those that no row uses, beyond REMEMBERED."""
        dead = [number for number in self._rules if number not in live]
        for number in dead[: max(0, len(dead) - REMEMBERED)]:
            del self._numbers[self._rules.pop(number)]

    def table(self) -> Mapping[int, tuple[ProvenanceRule, ...]]:
        """Every number and its rules."""
        return self._rules
