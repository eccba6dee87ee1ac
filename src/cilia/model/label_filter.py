"""Which labels make an identity, and which are noise that changes with every rollout.

Source: https://docs.cilium.io/en/stable/operations/performance/scalability/identity-relevant-labels/
"""

import re
from collections.abc import Iterable

from cilia.model.errors import InvalidValue
from cilia.model.labels import Label, LabelSet, label_set, split_source

ALWAYS = (
    r"reserved:.*",
    r"io\.kubernetes\.pod\.namespace",
    r"io\.cilium\.k8s\.namespace\.labels",
    r"app\.kubernetes\.io",
    r"io\.cilium\.k8s\.policy\.cluster",
    r"io\.cilium\.k8s\.policy\.serviceaccount",
)
NOISE = (
    r"!io\.kubernetes",
    r"!kubernetes\.io",
    r"!statefulset\.kubernetes\.io/pod-name",
    r"!apps\.kubernetes\.io/pod-index",
    r"!batch\.kubernetes\.io/job-completion-index",
    r"!batch\.kubernetes\.io/controller-uid",
    r"!.*beta\.kubernetes\.io",
    r"!k8s\.io",
    r"!pod-template-generation",
    r"!pod-template-hash",
    r"!controller-revision-hash",
    r"!controller-uid",
    r"!annotation.*",
    r"!etcd_node",
    r"!topology\.kubernetes\.io",
)


class LabelFilter:
    """Decides which labels belong to an identity.

    Each pattern is a regular expression on the key, matched from its start;
    a leading `!` excludes, a leading `source:` limits it to that source. The
    longest match decides. What nothing matches is included, unless the caller
    listed what to include: then it is not.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """Makes the default filter, or one with the caller's patterns added to it.

        Raises:
            InvalidValue: A pattern is not a regular expression.
        """
        own = tuple(patterns)
        self._includes_rest = all(p.startswith("!") for p in own)
        self._rules = [_parse(p) for p in (*ALWAYS, *NOISE, *own)]

    def includes(self, label: Label) -> bool:
        """True if the label takes part in the identity."""
        longest = {True: -1, False: -1}
        for included, source, pattern in self._rules:
            match = pattern.match(label.key) if source in ("", label.source) else None
            if match:
                longest[included] = max(longest[included], match.end())
        if longest[True] == longest[False] == -1:
            return self._includes_rest
        return longest[True] >= longest[False]

    def apply(self, labels: Iterable[Label]) -> LabelSet:
        """The label set that makes the identity of what carries these labels."""
        return label_set(label for label in labels if self.includes(label))


def _parse(text: str) -> tuple[bool, str, re.Pattern[str]]:
    included = not text.startswith("!")
    source, pattern = split_source(text.removeprefix("!"), "")
    try:
        return included, source, re.compile(pattern)
    except re.error as error:
        raise InvalidValue(
            f"label filter {text!r}: {error}; write a regular expression on the key"
        ) from error
