"""Policy numbers: one set of rows for all endpoints that the same rules select.

A number's rows never change their meaning: other rules are another number. It only
gains rows for classes that are new and loses those of classes that are gone.
"""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from cilia.policy.classes import ClassTable
from cilia.policy.delta import ROW, Rows
from cilia.policy.provenance import Provenance
from cilia.policy.verdicts import Grant, merged_rows, spread

_NO_ROWS = np.zeros(0, dtype=ROW)
ANY_CLASS = 0


class Content(msgspec.Struct, frozen=True):
    """What makes two endpoints share a number."""

    grants: tuple[Grant, ...]
    base: Rows
    """The rows of anyone: what no grant speaks of, for each enforced direction."""
    enforced: tuple[bool, bool]
    """For each Direction."""


class PolicyNumber:
    """The rows of one number: a template for each class that any grant speaks of."""

    def __init__(self, number: int, content: Content, provenance: Provenance) -> None:
        self.number = number
        self.enforced = content.enforced
        self._provenance = provenance
        self._grants = content.grants
        self._by_need: dict[int, list[int]] = {}
        for place, grant in enumerate(content.grants):
            if grant.needs:
                self._by_need.setdefault(grant.needs[0], []).append(place)
        self._made: dict[tuple[int, ...], Rows] = {}
        self._templates: dict[int, Rows] = {ANY_CLASS: self._any_rows(content.base)}

    def fill(self, classes: ClassTable) -> None:
        """Makes the templates of every class there is."""
        chosen: dict[int, list[int]] = {}
        for selector, places in self._by_need.items():
            for number in classes.classes_of[selector]:
                chosen.setdefault(number, []).extend(places)
        for number, places in chosen.items():
            self._choose(number, places, classes.selectors_of[number])

    def add_class(self, number: int, selectors: set[int]) -> None:
        """Makes the template of a class that is new."""
        if len(selectors) < len(self._by_need):
            found = [self._by_need[s] for s in selectors if s in self._by_need]
        else:
            found = [places for s, places in self._by_need.items() if s in selectors]
        self._choose(number, [place for places in found for place in places], selectors)

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

    def _choose(self, number: int, places: list[int], selectors: set[int]) -> None:
        chosen = tuple(sorted(p for p in places if selectors.issuperset(self._grants[p].needs)))
        if not chosen:
            return
        made = self._made.get(chosen)
        if made is None:
            made = merged_rows([self._grants[p] for p in chosen], self._provenance)
            self._made[chosen] = made
        self._templates[number] = made

    def _any_rows(self, base: Rows) -> Rows:
        """Rows of grants to anyone, and the base rows that none of them replaces."""
        rows = merged_rows([g for g in self._grants if not g.needs], self._provenance)
        replaced = {(int(row["direction"]), int(row["prefixlen"])) for row in rows}
        kept = [
            row for row in base if (int(row["direction"]), int(row["prefixlen"])) not in replaced
        ]
        return np.concatenate([rows, np.array(kept, dtype=ROW)])
