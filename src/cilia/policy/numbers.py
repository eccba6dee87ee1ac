"""Policy numbers: one set of rows for all endpoints that the same rules select.

A number's rows never change their meaning: other rules are another number. It only
gains rows for classes that are new and loses those of classes that are gone.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from cilia.policy.classes import ClassTable
from cilia.policy.delta import ROW, Rows
from cilia.policy.provenance import Provenance
from cilia.policy.verdicts import Grant, merged_rows, spread

_NO_ROWS = np.zeros(0, dtype=ROW)
ANY_CLASS = 0
_HELD = 1 << 20
"""Grants that templates hold, one more for each, beyond the numbers that use them."""


class Content(msgspec.Struct, frozen=True):
    """What makes two endpoints share a number."""

    grants: tuple[Grant, ...]
    base: Rows
    """The rows of anyone: what no grant speaks of, for each enforced direction."""
    enforced: tuple[bool, bool]
    """For each Direction."""


class TemplateTable:
    """Grants -> the rows they come to, so that numbers that share grants share the work."""

    def __init__(self, provenance: Provenance) -> None:
        self._provenance = provenance
        self._made: dict[tuple[int, ...], tuple[tuple[Grant, ...], Rows]] = {}
        self._held = 0

    def of(self, grants: tuple[Grant, ...]) -> Rows:
        """The rows of a class to which exactly these grants apply; not to be written to."""
        # By identity: a spec keeps its grants, and looking into them takes as long as the rows.
        key = tuple(map(id, grants))
        found = self._made.get(key)
        if found is None:
            size = len(grants) + 1
            if self._held + size > _HELD:
                self.clear()
            self._held += size
            # Held beside its rows, a grant's id stays its own.
            found = self._made[key] = grants, merged_rows(grants, self._provenance)
        return found[1]

    def clear(self) -> None:
        """Forgets all: provenances that rows here carry may be gone."""
        self._made.clear()
        self._held = 0


class PolicyNumber:
    """The rows of one number: a template for each class that any grant speaks of."""

    def __init__(self, number: int, content: Content, templates: TemplateTable) -> None:
        self.number = number
        self.enforced = content.enforced
        self._made = templates
        self._grants = content.grants
        self._by_need: dict[int, list[Grant]] = {}
        for grant in content.grants:
            if grant.needs:
                self._by_need.setdefault(grant.needs[0], []).append(grant)
        self._templates: dict[int, Rows] = {ANY_CLASS: self._any_rows(content.base)}

    def fill(self, classes: ClassTable, like: "PolicyNumber | None" = None) -> None:
        """Makes the templates of every class there is.

        Args:
            classes: The classes.
            like: A number with all its templates; where grants are the same, so are those.
        """
        changed: Sequence[Grant] = self._grants
        if like is not None:
            differing = _differing(self._grants, like._grants)
            if 2 * len(differing) < len(self._grants):
                changed = differing
                self._templates = {**like._templates, ANY_CLASS: self._templates[ANY_CLASS]}
        for number in {
            number
            for selector in {grant.needs[0] for grant in changed if grant.needs}
            for number in classes.classes_of.get(selector, ())
        }:
            self._templates.pop(number, None)
            self.add_class(number, classes.selectors_of[number])

    def add_class(self, number: int, selectors: set[int]) -> None:
        """Makes the template of a class that is new."""
        if len(selectors) < len(self._by_need):
            found = [self._by_need[s] for s in selectors if s in self._by_need]
        else:
            found = [grants for s, grants in self._by_need.items() if s in selectors]
        chosen = [g for grants in found for g in grants if selectors.issuperset(g.needs)]
        if chosen:
            self._templates[number] = self._made.of(tuple(sorted(chosen, key=id)))

    def drop_class(self, number: int) -> Rows:
        """Forgets a class; returns its rows, for deletion."""
        rows = self._templates.pop(number, _NO_ROWS)
        return spread({number: rows}, self.number, 0)

    def rows(self, generation: int, classes: Iterable[int] | None = None) -> Rows:
        """The rows of some classes, or of all and of anyone."""
        templates: Mapping[int, Rows] = self._templates
        if classes is not None:
            templates = {c: self._templates[c] for c in classes if c in self._templates}
        return spread(templates, self.number, generation)

    def _any_rows(self, base: Rows) -> Rows:
        """Rows of grants to anyone, and the base rows that none of them replaces."""
        rows = self._made.of(tuple(g for g in self._grants if not g.needs))
        replaced = {(int(row["direction"]), int(row["prefixlen"])) for row in rows}
        kept = [
            row for row in base if (int(row["direction"]), int(row["prefixlen"])) not in replaced
        ]
        return np.concatenate([rows, np.array(kept, dtype=ROW)])


def _differing(one: Sequence[Grant], other: Sequence[Grant]) -> list[Grant]:
    """Those that are not in both, as the very same objects."""
    mine, theirs = (dict(zip(map(id, grants), grants, strict=True)) for grants in (one, other))
    return [mine.get(key) or theirs[key] for key in mine.keys() ^ theirs.keys()]
