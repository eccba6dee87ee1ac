"""Label selectors in one canonical form, so that equal selectors are equal values.

A key names its source (`k8s:app`); a key without one, or with `any`, is matched
by a label of any source.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from cilia.model.errors import InvalidValue
from cilia.model.labels import LabelSet, split_source


class Operator(StrEnum):
    """How a requirement compares."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Requirement(msgspec.Struct, frozen=True, order=True):
    """One condition on one key."""

    key: str
    """`source:key`, the source being `any` where none was given."""
    operator: Operator
    values: tuple[str, ...] = ()
    """Sorted, each once; empty for Exists and DoesNotExist."""

    def matches(self, view: Mapping[str, frozenset[str]]) -> bool:
        """True if labels, seen through `label_view`, satisfy this."""
        found = view.get(self.key)
        if self.operator is Operator.EXISTS:
            return found is not None
        if self.operator is Operator.DOES_NOT_EXIST:
            return found is None
        carries = found is not None and not found.isdisjoint(self.values)
        return carries == (self.operator is Operator.IN)

    def __str__(self) -> str:
        if self.operator is Operator.EXISTS:
            return self.key
        if self.operator is Operator.DOES_NOT_EXIST:
            return f"!{self.key}"
        if self.operator is Operator.IN and len(self.values) == 1:
            return f"{self.key}={self.values[0]}"
        return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"


class LabelSelector(msgspec.Struct, frozen=True, cache_hash=True):
    """Requirements that all must hold; none selects everything."""

    requirements: tuple[Requirement, ...] = ()
    """Sorted, each once."""

    def matches(self, labels: LabelSet) -> bool:
        """True if the label set satisfies every requirement."""
        view = label_view(labels)
        return all(requirement.matches(view) for requirement in self.requirements)

    def has_key(self, *keys: str) -> bool:
        """True if a requirement is about one of these `source:key`."""
        return any(requirement.key in keys for requirement in self.requirements)

    def has_source(self, source: str) -> bool:
        """True if a requirement names this source."""
        return any(r.key.startswith(f"{source}:") for r in self.requirements)

    def adding(self, *more: Requirement) -> "LabelSelector":
        """This selector, narrowed."""
        return label_selector((*self.requirements, *more))

    def __str__(self) -> str:
        return ", ".join(map(str, self.requirements)) or "everything"


def requirement(
    key: str, operator: Operator, values: Iterable[str] = (), *, default_source: str = "any"
) -> Requirement:
    """A requirement in canonical form.

    Raises:
        InvalidValue: The key is empty, or the operator has values and must not, or the
            other way round.
    """
    source, bare = split_source(key, default_source)
    if not bare:
        raise InvalidValue("a selector needs a key")
    found = tuple(sorted(set(values)))
    if operator in (Operator.IN, Operator.NOT_IN):
        if not found:
            raise InvalidValue(f"operator {operator.value} needs at least one value")
    elif found:
        raise InvalidValue(f"operator {operator.value} takes no values")
    return Requirement(f"{source}:{bare}", operator, found)


def label_selector(requirements: Iterable[Requirement]) -> LabelSelector:
    """The canonical selector of these requirements."""
    return LabelSelector(tuple(sorted(set(requirements))))


def equals(**labels: str) -> LabelSelector:
    """A selector on `any:` labels, for short examples and tests."""
    return match_labels(labels)


def match_labels(labels: Mapping[str, str], *, default_source: str = "any") -> LabelSelector:
    """The selector that a `matchLabels` map writes."""
    return label_selector(
        requirement(key, Operator.IN, [value], default_source=default_source)
        for key, value in labels.items()
    )


def reserved_selector(name: str) -> LabelSelector:
    """The selector of what carries `reserved:<name>`."""
    return label_selector([Requirement(f"reserved:{name}", Operator.EXISTS)])


def label_view(labels: LabelSet) -> dict[str, frozenset[str]]:
    """Labels as requirements see them: `source:key` and `any:key` -> their values."""
    view: dict[str, frozenset[str]] = {}
    for label in labels:
        keyed, _, value = label.partition("=")
        bare = keyed.partition(":")[2]
        view[keyed] = frozenset((value,))
        view[f"any:{bare}"] = view.get(f"any:{bare}", frozenset()) | {value}
    return view
