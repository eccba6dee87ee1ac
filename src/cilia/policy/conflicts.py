"""Rules that get in each other's way, in a cluster as it is now.

    dead         speaks of nobody: no endpoint, no peer, no port of that name
    shadowed     allows nothing that deny rules do not deny
    overlapping  allows what a deny rule denies in part
    duplicate    says what an earlier rule of the same kind says
    redundant    says part of what one other rule of the same kind says

Pure: everything is decided on the extents of rules.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import msgspec
from pyroaring import BitMap

from cilia.model.rules import Direction, Entry, Peers, Policy
from cilia.policy.extents import Extent, Extents, Population, covered, meet
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.resolution import provenance_rule

PAIRS = 1_000_000
"""So many pairs of rules are compared, for a few seconds of work."""


class ConflictKind(StrEnum):
    """What is the matter with a rule."""

    DEAD = "dead"
    SHADOWED = "shadowed"
    OVERLAPPING = "overlapping"
    DUPLICATE = "duplicate"
    REDUNDANT = "redundant"


class Conflict(msgspec.Struct, frozen=True):
    """One rule, and what it conflicts with."""

    kind: ConflictKind
    rule: ProvenanceRule
    others: tuple[ProvenanceRule, ...]
    """The rules to blame; none for a dead one."""
    detail: str


class Conflicts(msgspec.Struct, frozen=True):
    """All conflicts."""

    rules: int
    """How many rules were compared."""
    found: tuple[Conflict, ...]
    complete: bool = True
    """False: there are so many rules that not all were compared."""


class _Rule(msgspec.Struct, frozen=True, eq=False):
    """A rule that speaks of somebody."""

    origin: ProvenanceRule
    direction: Direction
    deny: bool
    extent: Extent
    subjects: BitMap


def find_conflicts(policies: Iterable[Policy], population: Population) -> Conflicts:
    """The conflicts among the rules of policies, in the order of the policies.

    Args:
        policies: All valid ones.
        population: Every endpoint and identity there is.
    """
    ordered = sorted(policies, key=lambda policy: policy.key)
    extents = Extents(ordered, population)
    found: list[Conflict] = []
    rules: list[_Rule] = []
    count = 0
    for policy in ordered:
        for spec in policy.specs:
            for entry in spec.entries:
                count += 1
                if entry.peers == Peers():
                    continue  # It is there to close its direction, not to let anybody through.
                origin = provenance_rule(policy.key, entry, spec.log)
                extent, subjects = extents.extent(spec, entry), extents.subjects(spec)
                if not extent:
                    detail = _why_dead(subjects, extents.peers(spec, entry), entry)
                    found.append(Conflict(ConflictKind.DEAD, origin, (), detail))
                    continue
                rules.append(_Rule(origin, entry.direction, entry.deny, extent, subjects))
    pairs = _Pairs(rules)
    for index, rule in enumerate(rules):
        if not rule.deny:
            found += _denied(rule, [other for _, other in pairs.meeting(index, deny=True)])
        found += _repeated(index, rule, pairs.meeting(index, deny=rule.deny))
    found.sort(key=lambda conflict: (conflict.rule.policy, conflict.rule.path))
    return Conflicts(count, tuple(found), not pairs.is_cut)


def _why_dead(subjects: BitMap, peers: BitMap, entry: Entry) -> str:
    if not subjects:
        return "no endpoint is selected"
    if not peers and entry.peers is not None:
        return "no peer is selected"
    return "no pod has a port of that name"


class _Pairs:
    """Which rules speak of the same subjects in the same direction."""

    def __init__(self, rules: Sequence[_Rule]) -> None:
        self.is_cut = False
        self._left = PAIRS
        self._rules = rules
        self._groups: dict[tuple[Direction, bool, bytes], list[int]] = {}
        self._subjects: dict[bytes, BitMap] = {}
        for index, rule in enumerate(rules):
            key = rule.subjects.serialize()
            self._subjects[key] = rule.subjects
            self._groups.setdefault((rule.direction, rule.deny, key), []).append(index)

    def meeting(self, index: int, *, deny: bool) -> Iterator[tuple[int, _Rule]]:
        """The other rules with this verdict that a rule has something in common with."""
        rule = self._rules[index]
        for (direction, denies, key), members in self._groups.items():
            same = direction == rule.direction and denies == deny
            if not same or not self._subjects[key].intersect(rule.subjects):
                continue
            for other in members:
                if other == index:
                    continue
                if not self._left:
                    self.is_cut = True
                    return
                self._left -= 1
                if meet(rule.extent, self._rules[other].extent):
                    yield other, self._rules[other]


def _denied(rule: _Rule, denies: Sequence[_Rule]) -> Iterator[Conflict]:
    if not denies:
        return
    blamed = tuple(deny.origin for deny in denies)
    if covered(rule.extent, (box for deny in denies for box in deny.extent)):
        detail = "everything that it allows is denied"
        yield Conflict(ConflictKind.SHADOWED, rule.origin, blamed, detail)
    else:
        detail = "part of what it allows is denied"
        yield Conflict(ConflictKind.OVERLAPPING, rule.origin, blamed, detail)


def _repeated(index: int, rule: _Rule, others: Iterable[tuple[int, _Rule]]) -> Iterator[Conflict]:
    """The first rule that says the same, or else the first that says more."""
    wider: _Rule | None = None
    for place, other in others:
        if not covered(rule.extent, other.extent):
            continue
        if not covered(other.extent, rule.extent):
            wider = wider or other
        elif place < index:
            detail = "another rule says the same"
            yield Conflict(ConflictKind.DUPLICATE, rule.origin, (other.origin,), detail)
            return
    if wider is not None:
        detail = "another rule says this and more"
        yield Conflict(ConflictKind.REDUNDANT, rule.origin, (wider.origin,), detail)
