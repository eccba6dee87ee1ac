"""Policy files judged without a cluster: what would be refused, and what is odd."""

import difflib
from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec
import yaml

from cilia.model.errors import PolicyError
from cilia.model.rules import PolicyKey
from cilia.policy.sources import KINDS, Context, parse_policy
from cilia.policy.suspicions import suspicions_of
from cilia.policy.trial.documents import Document

_CLOSE = 0.8


class Severity(StrEnum):
    """Whether the policy can be used."""

    ERROR = "error"
    WARNING = "warning"


class Finding(msgspec.Struct, frozen=True):
    """Something about one field of one policy."""

    severity: Severity
    place: str
    """File and line."""
    policy: str
    """Kind, namespace and name, as far as known."""
    path: str
    """Of the field; empty for the whole object."""
    message: str
    """What is wrong, and the remedy."""

    def __str__(self) -> str:
        return f"{self.place}: {self.severity}: {self.message}"


class Findings(msgspec.Struct, frozen=True):
    """What came of some documents."""

    policies: int
    """How many policies there were, good and bad."""
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many policies would be refused."""
        return sum(each.severity is Severity.ERROR for each in self.findings)


def validate(documents: Iterable[Document], context: Context | None = None) -> Findings:
    """Judges the policies among documents; other kinds are passed over."""
    found: list[Finding] = []
    seen: dict[PolicyKey, str] = {}
    count = 0
    for document in documents:
        if not _is_policy(document.content):
            continue
        count += 1
        found += _repeated(document)
        try:
            policy = parse_policy(document.content, context)
        except PolicyError as error:
            place = document.place_of(error.path)
            found.append(Finding(Severity.ERROR, place, error.where, error.path, str(error)))
            continue
        name = str(policy.key)
        if policy.key in seen:
            told = f"{name}: is in {seen[policy.key]} too, and one replaces the other"
            found.append(Finding(Severity.WARNING, document.place, name, "", told))
        seen[policy.key] = document.place
        for odd in suspicions_of(document.content, policy):
            place = document.place_of(odd.path)
            told = f"{name}: {odd}"
            found.append(Finding(Severity.WARNING, place, name, odd.path, told))
    return Findings(count, tuple(found))


def _is_policy(content: object) -> bool:
    """True for our kinds, and for what is nearly one of them."""
    if not isinstance(content, dict):
        return False
    kind = content.get("kind")
    if kind in KINDS:
        return True
    ours = content.get("apiVersion") in KINDS.values()
    near = difflib.get_close_matches(str(kind), list(KINDS), 1, _CLOSE)
    return ours and bool(near)


def _repeated(document: Document) -> Iterator[Finding]:
    """Keys that a mapping has twice: YAML keeps the last one and says nothing."""
    below = [document.node]
    while below:
        node = below.pop()
        if isinstance(node, yaml.SequenceNode):
            below += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                below.append(value)
                if isinstance(key.value, str) and key.value in seen:
                    place = f"{document.file}:{key.start_mark.line + 1}"
                    told = f"{key.value} is written twice, and only the last counts; join them"
                    yield Finding(Severity.WARNING, place, "", key.value, told)
                seen.add(str(key.value))
