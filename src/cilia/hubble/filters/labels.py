"""Selectors of labels, in Kubernetes' syntax.

Source:
    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

import re
from collections.abc import Sequence

import msgspec

from cilia.hubble.filters.terms import InvalidFilterError

KEY = r"(?P<source>[A-Za-z0-9_-]+:)?(?P<key>[A-Za-z0-9][A-Za-z0-9._/-]*|\*)"
EXISTS = re.compile(rf"(?P<not>!?)\s*{KEY}")
EQUALS = re.compile(rf"{KEY}\s*(?P<operator>==|=|!=)\s*(?P<value>[A-Za-z0-9._:/-]*)")
IN = re.compile(rf"{KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")


class Requirement(msgspec.Struct, frozen=True):
    """One condition on the labels of one key."""

    source: str
    """Empty: any."""
    key: str
    values: tuple[str, ...] | None
    """None: any value will do."""
    is_negated: bool

    def matches(self, labels: Sequence[str]) -> bool:
        """Whether labels, `source:key=value` each, meet it."""
        return self.is_negated != any(self._is_met_by(label) for label in labels)

    def _is_met_by(self, label: str) -> bool:
        name, _, value = label.partition("=")
        source, _, key = name.rpartition(":")
        return (
            key == self.key
            and self.source in ("", source)
            and (self.values is None or value in self.values)
        )


def parse_selector(field: str, text: str) -> tuple[Requirement, ...]:
    """The conditions of a selector; all must be met.

    Raises:
        InvalidFilterError: It is no selector.
    """
    return tuple(_requirement(field, text, part.strip()) for part in _parts(text))


def _parts(text: str) -> list[str]:
    """What stands between commas that are in no parentheses; one look at each character."""
    found, begin, inside = [], 0, False
    for at, letter in enumerate(text):
        if letter in "()":
            inside = letter == "("
        elif letter == "," and not inside:
            found.append(text[begin:at])
            begin = at + 1
    return [*found, text[begin:]]


def _requirement(field: str, text: str, part: str) -> Requirement:
    if found := EQUALS.fullmatch(part):
        values: tuple[str, ...] | None = (found["value"],)
        negated = found["operator"] == "!="
    elif found := IN.fullmatch(part):
        values = tuple(value.strip() for value in found["values"].split(","))
        negated = found["operator"] == "notin"
    elif found := EXISTS.fullmatch(part):
        values, negated = None, bool(found["not"])
    else:
        raise InvalidFilterError(f"{field} {text!r}: {part!r} is no selector of labels")
    return Requirement((found["source"] or "").removesuffix(":"), found["key"], values, negated)
