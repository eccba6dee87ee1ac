"""Which identities a selector selects: bitmap algebra over labels.

Every label and every key has a bitmap of the slots that carry it; a selector is
the intersection of its requirements' bitmaps. A new slot is tried only against
selectors that one of its labels leads to.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from pyroaring import BitMap

from cilia.model.labels import LabelSet
from cilia.model.selectors import LabelSelector, Operator, Requirement, label_view


class LabelIndex:
    """Label -> slots, for label sets that come and go."""

    def __init__(self) -> None:
        self.slots = BitMap()
        self._labels: dict[int, LabelSet] = {}
        self._bitmaps: dict[str, BitMap] = {}
        self._sources: dict[str, set[str]] = {}

    def add(self, slot: int, labels: LabelSet) -> None:
        """Puts a label set at a slot that is free."""
        self._labels[slot] = labels
        self.slots.add(slot)
        for label in labels:
            source, bare, names = _parts(label)
            self._sources.setdefault(bare, set()).add(source)
            for name in names:
                bitmap = self._bitmaps.get(name)
                if bitmap is None:
                    bitmap = self._bitmaps[name] = BitMap()
                bitmap.add(slot)

    def remove(self, slot: int) -> None:
        """Frees a slot."""
        self.slots.discard(slot)
        for label in self._labels.pop(slot):
            for name in _parts(label)[2]:
                bitmap = self._bitmaps[name]
                bitmap.discard(slot)
                if not bitmap:
                    del self._bitmaps[name]

    def labels(self, slot: int) -> LabelSet:
        """The label set at a slot."""
        return self._labels[slot]

    def select(self, selector: LabelSelector) -> BitMap:
        """The slots that a selector selects."""
        result: BitMap | None = None
        for requirement in selector.requirements:
            found = self._carriers(requirement)
            if requirement.operator in (Operator.NOT_IN, Operator.DOES_NOT_EXIST):
                result = (self.slots if result is None else result) - found
            else:
                result = found if result is None else result & found
            if not result:
                return BitMap()
        return BitMap(self.slots if result is None else result)

    def _carriers(self, requirement: Requirement) -> BitMap:
        """The slots with the key and, where values are given, one of them."""
        source, _, bare = requirement.key.partition(":")
        sources: Iterable[str] = self._sources.get(bare, ()) if source == "any" else (source,)
        values = [f"={value}" for value in requirement.values] or ["*"]
        found = [
            bitmap
            for name in sources
            for value in values
            if (bitmap := self._bitmaps.get(f"{name}:{bare}{value}")) is not None
        ]
        return found[0] if len(found) == 1 else BitMap.union(*found) if found else BitMap()


@lru_cache(maxsize=1 << 15)
def _parts(label: str) -> tuple[str, str, tuple[str, str]]:
    """A label's source, its bare key, and the names of its bitmaps: the key's and its own."""
    keyed, equals, _ = label.partition("=")
    source, _, bare = keyed.partition(":")
    # A key's bitmap ends in a mark that no label can end in: `a` is not `a=`.
    return source, bare, (keyed + "*", label if equals else keyed + "=")


class SelectorIndex:
    """Selectors by what a label set must carry to be selected by them at all."""

    def __init__(self) -> None:
        self._anchored: dict[str, dict[int, LabelSelector]] = {}
        self._unanchored: dict[int, LabelSelector] = {}

    def add(self, number: int, selector: LabelSelector) -> None:
        """Files a selector under a number of the caller's."""
        for shelf in self._shelves(selector):
            shelf[number] = selector

    def remove(self, number: int, selector: LabelSelector) -> None:
        """Takes a selector out."""
        for shelf in self._shelves(selector):
            del shelf[number]

    def matching(self, labels: LabelSet) -> Iterator[int]:
        """The numbers of the selectors that select a label set, each once."""
        view = label_view(labels)
        tried: set[int] = set()
        anchors = [key + "*" for key in view]
        anchors += [f"{key}={value}" for key, values in view.items() for value in values]
        shelves = [self._anchored[a] for a in anchors if a in self._anchored]
        for shelf in (*shelves, self._unanchored):
            for number, selector in shelf.items():
                if number not in tried:
                    tried.add(number)
                    if all(r.matches(view) for r in selector.requirements):
                        yield number

    def _shelves(self, selector: LabelSelector) -> list[dict[int, LabelSelector]]:
        """One shelf a value of the rarest positive requirement; the rest lie together."""
        positive = [
            r for r in selector.requirements if r.operator in (Operator.IN, Operator.EXISTS)
        ]
        if not positive:
            return [self._unanchored]
        # Of several, keys of the caller's own choice tell more apart than those all pods have.
        best = min(positive, key=lambda r: (r.operator is Operator.EXISTS, "io." in r.key))
        anchors = [f"{best.key}={value}" for value in best.values] or [best.key + "*"]
        return [self._anchored.setdefault(anchor, {}) for anchor in anchors]
