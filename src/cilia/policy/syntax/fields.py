"""A value with its place in the object, so that every complaint can name it."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import NoReturn

from cilia.model.errors import NotSupported, PolicyError

_SHOWN = 60


class Field:
    """One value of a policy object, and its path."""

    __slots__ = ("found", "path", "where")

    def __init__(self, where: str, path: str, found: object) -> None:
        self.where = where
        self.path = path
        self.found = found

    def refuse(self, problem: str, remedy: str = "") -> NoReturn:
        """Raises PolicyError about this field."""
        raise PolicyError(self.where, self.path, problem, value=self._shown(), remedy=remedy)

    def not_supported(self, what: str) -> NotSupported:
        """The error that this field is valid and not enforced yet."""
        problem = f"{what} not supported yet, so the whole policy is refused"
        return NotSupported(self.where, self.path, problem, remedy="leave it out for now")

    def mapping(self, known: Collection[str] | None = None) -> "dict[str, Field]":
        """The members that are not null.

        Args:
            known: Names that may occur; None: any.
        """
        if not isinstance(self.found, Mapping):
            self.refuse("is not an object", "write fields below it")
        for name in self.found:
            if not isinstance(name, str):
                self.refuse(f"has the key {name!r}, which is not text", "put it in quotes")
            if known is not None and name not in known:
                self._unknown(name, known)
        return {
            name: Field(self.where, f"{self.path}.{name}" if self.path else name, value)
            for name, value in self.found.items()
            if value is not None
        }

    def items(self) -> "list[Field]":
        """The items of a list."""
        if not isinstance(self.found, list | tuple):
            self.refuse("is not a list", "begin each item with a dash")
        return [
            Field(self.where, f"{self.path}[{index}]", item)
            for index, item in enumerate(self.found)
        ]

    def text(self) -> str:
        """The text that it is."""
        if not isinstance(self.found, str):
            self.refuse("is not text", f'write "{self._shown()}"' if self._is_scalar() else "")
        return self.found

    def number(self, first: int, last: int) -> int:
        """The whole number that it is."""
        if isinstance(self.found, bool) or not isinstance(self.found, int):
            self.refuse("is not a whole number", f"write a number from {first} to {last}")
        if not first <= self.found <= last:
            self.refuse("is out of range", f"write a number from {first} to {last}")
        return self.found

    def flag(self) -> bool:
        """The true or false that it is."""
        if not isinstance(self.found, bool):
            self.refuse("is neither true nor false", "write true or false, without quotes")
        return self.found

    def choice(self, known: Iterable[str]) -> str:
        """The one of the known words that it is."""
        text, words = self.text(), list(known)
        if text not in words:
            self.refuse("is not known", suggestion(text, words))
        return text

    def _unknown(self, name: str, known: Collection[str]) -> NoReturn:
        member = Field(self.where, f"{self.path}.{name}" if self.path else name, None)
        raise PolicyError(
            self.where, member.path, "no such field", remedy=suggestion(name, list(known))
        )

    def _is_scalar(self) -> bool:
        return isinstance(self.found, int | float) and not isinstance(self.found, bool)

    def _shown(self) -> str:
        if isinstance(self.found, Mapping | list | tuple) or self.found is None:
            return ""
        text = str(self.found)
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def suggestion(text: str, known: list[str]) -> str:
    """What to write instead of a word that is not known."""
    lowered = {word.lower(): word for word in known}
    near = difflib.get_close_matches(text.lower(), lowered, n=1, cutoff=0.6)
    if near:
        return f"did you mean {lowered[near[0]]}?"
    return "known are " + ", ".join(sorted(known))


def require_one(field: Field, members: Mapping[str, Field], names: tuple[str, ...]) -> str:
    """The one of these members that is there."""
    present = [name for name in names if name in members]
    if len(present) != 1:
        found = "none" if not present else " and ".join(present)
        field.refuse(f"needs exactly one of {', '.join(names)}, and has {found}")
    return present[0]
