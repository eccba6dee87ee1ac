"""Classes: what no selector in use can tell apart is one class.

A slot is an identity, or a group of CIDR prefixes that the same rules cover. A
class is the set of slots that exactly the same selectors select; it is found by
its key, the XOR of its selectors' secret 128-bit numbers. A new selector splits
the classes that it cuts through; a selector that goes lets classes merge.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

FIRST_CLASS = 1
NO_CLASS = 0


class ClassTable:
    """Slot -> class, and class <-> selectors.

    Attributes:
        class_of: Class of each slot; NO_CLASS where there is none. Grows by itself.
        selectors_of: The selectors that select a class.
        classes_of: The classes that a selector selects.
        hints: Class numbers to give to keys that come up again after a restart.
        created: Classes made since the caller last cleared this.
        next: The number that the next new class gets.
        dropped: Classes that lost their last member since the caller last cleared this.
    """

    def __init__(self, hints: Mapping[int, int] | None = None, first: int = FIRST_CLASS) -> None:
        self.class_of: NDArray[np.uint32] = np.zeros(1024, dtype=np.uint32)
        self.selectors_of: dict[int, set[int]] = {}
        self.classes_of: dict[int, set[int]] = {}
        self.hints = dict(hints or {})
        self.created: set[int] = set()
        self.dropped: set[int] = set()
        self._size: dict[int, int] = {}
        self._key: dict[int, int] = {}
        self._by_key: dict[int, int] = {}
        self._secret: dict[int, int] = {}
        self.next = max([first, *(number + 1 for number in self.hints.values())])

    def __len__(self) -> int:
        return len(self._size)

    def keys(self) -> dict[int, int]:
        """Key -> class, as `hints` of the next start."""
        return dict(self._by_key)

    def is_alive(self, number: int) -> bool:
        """True if the class has members."""
        return self._size.get(number, 0) > 0

    def add_selector(self, selector: int, secret: int, slots: BitMap) -> None:
        """Lets a selector tell apart what it selects from what it does not."""
        self._secret[selector] = secret
        self.classes_of[selector] = set()
        members = np.asarray(slots.to_array(), dtype=np.int64)
        if len(members) == 0:
            return
        classes = self.class_of[members]
        order = np.argsort(classes, kind="stable")
        found, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
        for old, start, count in zip(found.tolist(), starts.tolist(), counts.tolist(), strict=True):
            if count == self._size[old]:
                self._rename(old, selector)
            else:
                chosen = members[order[start : start + count]]
                self._move(chosen, old, self._class({*self.selectors_of[old], selector}))

    def remove_selectors(self, selectors: Iterable[int]) -> None:
        """Forgets selectors; classes that nothing else tells apart become one."""
        touched: set[int] = set()
        for selector in selectors:
            for number in self.classes_of.pop(selector):
                self.selectors_of[number].discard(selector)
                touched.add(number)
                if self._by_key.get(self._key[number]) == number:
                    del self._by_key[self._key[number]]
                self._key[number] ^= self._secret[selector]
            del self._secret[selector]
        # The largest keeps its number: fewer members move.
        for number in sorted(touched, key=lambda n: (-self._size[n], n)):
            self._merge(number)

    def place(self, slot: int, selectors: set[int]) -> None:
        """Puts a slot into the class of what these selectors select."""
        self.reserve(slot + 1)
        old, new = int(self.class_of[slot]), self._class(selectors)
        if old != new:
            self._move(np.array([slot], dtype=np.int64), old, new)

    def reserve(self, slots: int) -> None:
        """Makes room for slots below a number."""
        if slots > len(self.class_of):
            grown = np.zeros(max(slots, 2 * len(self.class_of)), dtype=np.uint32)
            grown[: len(self.class_of)] = self.class_of
            self.class_of = grown

    def place_many(self, slots: NDArray[np.int64], selectors: set[int]) -> None:
        """Puts slots that the same selectors select into their class."""
        number = self._class(selectors)
        for old in np.unique(self.class_of[slots]).tolist():
            if old != number:
                self._move(slots[self.class_of[slots] == old], old, number)

    def remove(self, slot: int) -> None:
        """Takes a slot out."""
        self._move(np.array([slot], dtype=np.int64), int(self.class_of[slot]), NO_CLASS)

    def _class(self, selectors: set[int]) -> int:
        key = 0
        for selector in selectors:
            key ^= self._secret[selector]
        found = self._by_key.get(key)
        if found is not None:
            return found
        number = self.hints.pop(key, 0)
        if not number or number in self._size:
            number, self.next = self.next, self.next + 1
        self.created.add(number)
        self._size[number] = 0
        self._key[number] = key
        self._by_key[key] = number
        self.selectors_of[number] = set(selectors)
        for selector in selectors:
            self.classes_of[selector].add(number)
        return number

    def _rename(self, number: int, selector: int) -> None:
        """All members are selected: the class stays, and is selected by one more."""
        del self._by_key[self._key[number]]
        self._key[number] ^= self._secret[selector]
        self._by_key[self._key[number]] = number
        self.selectors_of[number].add(selector)
        self.classes_of[selector].add(number)

    def _move(self, slots: NDArray[np.int64], old: int, new: int) -> None:
        self.class_of[slots] = new
        if new != NO_CLASS:
            self._size[new] += len(slots)
        if old != NO_CLASS:
            self._size[old] -= len(slots)
            if self._size[old] == 0:
                self._drop(old)

    def _merge(self, number: int) -> None:
        key = self._key[number]
        kept = self._by_key.setdefault(key, number)
        if kept != number:
            members = np.flatnonzero(self.class_of == number)
            self._move(members, number, kept)

    def _drop(self, number: int) -> None:
        key = self._key.pop(number)
        if self._by_key.get(key) == number:
            del self._by_key[key]
        del self._size[number]
        self.dropped.add(number)
        for selector in self.selectors_of.pop(number):
            self.classes_of[selector].discard(number)
