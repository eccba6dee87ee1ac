"""Policy numbers in use: who shares which, and the rows they have in the kernel."""

from collections.abc import Callable, Iterable, Mapping

from cilia.policy.classes import ClassTable
from cilia.policy.delta import CLOSED, Rows, joined
from cilia.policy.numbers import Content, PolicyNumber, TemplateTable

ContentKey = tuple[object, ...]


class NumberTable:
    """Content -> policy number, kept while an endpoint uses it."""

    def __init__(self, first: int, templates: TemplateTable) -> None:
        self.numbers: dict[int, PolicyNumber] = {}
        self._by_key: dict[ContentKey, int] = {}
        self._key: dict[int, ContentKey] = {}
        self._next = max(first, CLOSED + 1)
        self._templates = templates

    @property
    def next(self) -> int:
        """The number that the next new content gets."""
        return self._next

    def find(self, key: ContentKey, make: Callable[[], Content]) -> tuple[PolicyNumber, bool]:
        """The number of a content, and whether it is new: then its rows are to be filled."""
        found = self._by_key.get(key)
        if found is not None:
            return self.numbers[found], False
        number, self._next = self._next, self._next + 1
        made = PolicyNumber(number, make(), self._templates)
        self.numbers[number] = made
        self._by_key[key] = number
        self._key[number] = key
        return made, True

    def retire(self, used: set[int], generation: int) -> Rows:
        """Drops the numbers that no endpoint uses; returns their rows, for deletion."""
        dead = [number for number in self.numbers if number not in used]
        rows = [self.numbers[number].rows(generation) for number in dead]
        for number in dead:
            del self.numbers[number]
            del self._by_key[self._key.pop(number)]
        return joined(rows)

    def add_classes(self, created: Iterable[int], classes: ClassTable, generation: int) -> Rows:
        """Rows of classes that are new, under every number there is."""
        alive = [number for number in created if classes.is_alive(number)]
        rows = []
        for policy in self.numbers.values():
            for number in alive:
                policy.add_class(number, classes.selectors_of[number])
            rows.append(policy.rows(generation, alive))
        return joined(rows)

    def drop_classes(self, dropped: Iterable[int]) -> Rows:
        """Rows of classes that are gone, under every number there is, for deletion."""
        gone = sorted(dropped)
        return joined([p.drop_class(number) for p in self.numbers.values() for number in gone])

    def rows(self, generation: int) -> Rows:
        """Every row of every number."""
        return joined([policy.rows(generation) for policy in self.numbers.values()])

    def table(self) -> Mapping[int, PolicyNumber]:
        """The numbers in use."""
        return self.numbers
