"""The CIDR sets in use, so held that computing their coverage looks at no set alone.

Thousands of rules name one prefix each: their keys lie in one array that is only added to
and cut. Sets that are large, or have exceptions, stay as they are.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cilia.model.cidrs import CidrSet
from cilia.model.prefixes import PREFIX_KEY, PrefixKeys

Numbers = NDArray[np.int64]
_SMALL = 256
"""Prefixes of a set that are worth a copy."""


class CidrTable:
    """Number -> CIDR set."""

    def __init__(self, sets: Mapping[int, CidrSet] | None = None) -> None:
        self._keys: PrefixKeys = np.zeros(0, dtype=PREFIX_KEY)
        self._owner: Numbers = np.zeros(0, dtype=np.int64)
        self._small: set[int] = set()
        self._large: dict[int, CidrSet] = {}
        self._holed: dict[int, CidrSet] = {}
        self.add(sets or {})

    def __contains__(self, number: object) -> bool:
        return number in self._small or number in self._large or number in self._holed

    def add(self, sets: Mapping[int, CidrSet]) -> None:
        """Takes sets in, under numbers that are free."""
        small: list[tuple[int, CidrSet]] = []
        for number, cidrs in sets.items():
            if len(cidrs.excluded):
                self._holed[number] = cidrs
            elif len(cidrs) > _SMALL:
                self._large[number] = cidrs
            else:
                small.append((number, cidrs))
        self._small.update(number for number, _ in small)
        self._keys = np.concatenate([self._keys, *(cidrs.keys for _, cidrs in small)])
        self._owner = np.concatenate([self._owner, _owners(small)])

    def remove(self, numbers: Iterable[int]) -> None:
        """Takes sets out."""
        small = set()
        for number in numbers:
            if number in self._small:
                small.add(number)
            else:
                (self._large if number in self._large else self._holed).pop(number)
        if small:
            self._small -= small
            kept = ~np.isin(self._owner, list(small))
            self._keys, self._owner = self._keys[kept], self._owner[kept]

    def numbers(self) -> Numbers:
        """The numbers of all sets, in order."""
        found = [*self._small, *self._large, *self._holed]
        return np.sort(np.array(found, dtype=np.int64))

    def plain(self) -> tuple[PrefixKeys, Numbers]:
        """The prefixes of sets without exceptions, and for each the number of its set."""
        large = list(self._large.items())
        keys = np.concatenate([self._keys, *(cidrs.keys for _, cidrs in large)])
        return keys, np.concatenate([self._owner, _owners(large)])

    def holed(self) -> Iterator[tuple[int, CidrSet]]:
        """The sets with exceptions, and their numbers."""
        return iter(self._holed.items())

    def named(self) -> PrefixKeys:
        """Every prefix that a set names, exceptions too; some more than once."""
        holed = [keys for cidrs in self._holed.values() for keys in (cidrs.keys, cidrs.excluded)]
        return np.concatenate([self.plain()[0], *holed])


def _owners(sets: list[tuple[int, CidrSet]]) -> Numbers:
    numbers = np.array([number for number, _ in sets], dtype=np.int64)
    return np.repeat(numbers, [len(cidrs) for _, cidrs in sets])
