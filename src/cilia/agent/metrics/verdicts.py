"""Verdicts by the policies behind them, from the account of rules."""

from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric

from cilia.agent.metrics.families import look
from cilia.agent.rule_hits import Account, Hits
from cilia.model.rules import Direction, Spec
from cilia.policy.engine import PolicyEngine

MOST = 1000
"""Policies with series of their own; what others count goes to OTHER."""
OTHER = ("", "", "other")
"""Kind, namespace and name of the rest."""

Policy = tuple[str, ...]
"""Kind, namespace and name."""
Labels = tuple[str, ...]
"""Of a series: those of its policy, direction and verdict."""


class Expected:
    """The series of policies that select an endpoint of this node, used or not."""

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine
        self._revision = -1
        self._labels: frozenset[Labels] = frozenset()

    def __call__(self) -> frozenset[Labels]:
        """Returns their labels; the same object while policy does not change."""
        if self._revision != self._engine.revision:
            self._revision = self._engine.revision
            subjects = self._engine.subjects
            specs = [subjects.specs[number] for number in subjects.users]
            self._labels = frozenset(labels for spec in specs for labels in labels_of(spec))
        return self._labels


def labels_of(spec: Spec) -> Iterable[Labels]:
    """Returns the labels of every verdict that a spec may be behind."""
    policy = (spec.policy.kind, spec.policy.namespace, spec.policy.name)
    for entry in spec.entries:
        yield (*policy, entry.direction.name.lower(), "deny" if entry.deny else "allow")
    for direction in Direction:
        if spec.closes[direction]:
            yield (*policy, direction.name.lower(), "default-deny")


class PolicyVerdicts:
    """A collector over the account of rules.

    A policy that has series of its own keeps them while it is there, and what was counted
    for the rest stays there when a policy goes or gets series of its own: counters only rise.

    Args:
        account: What was counted.
        expected: Series that are there as 0 before anything is counted.
        most: Policies with series of their own.
    """

    def __init__(
        self,
        account: Callable[[], Account],
        expected: Callable[[], frozenset[Labels]] = frozenset,
        most: int = MOST,
    ) -> None:
        self._account = account
        self._expected = expected
        self._most = most
        self._own: set[Policy] = set()
        self._counted: dict[Labels, Hits] = {}
        """What the rest includes of policies that are there."""
        self._rest: dict[Labels, Hits] = {}
        self._seen: tuple[Account | None, frozenset[Labels]] = (None, frozenset())
        self._shown: dict[Labels, Hits] = {}

    def collect(self) -> Iterable[Metric]:
        """Returns the account as it was kept last."""
        seen = (self._account(), self._expected())
        if seen[0] is not self._seen[0] or seen[1] is not self._seen[1]:
            self._seen, self._shown = seen, self._sums(*seen)
        for family, field in (
            ("policy_verdict_packets_total", "packets"),
            ("policy_verdict_bytes_total", "bytes"),
            ("policy_verdict_connections_total", "connections"),
        ):
            rows = sorted(self._shown.items())
            yield look(family, [(labels, getattr(hits, field)) for labels, hits in rows])

    def _sums(self, account: Account, expected: frozenset[Labels]) -> dict[Labels, Hits]:
        sums = dict.fromkeys(expected, Hits())
        for rule, hits in account.totals.items():
            policy = (rule.policy.kind, rule.policy.namespace, rule.policy.name)
            labels: Labels = (*policy, rule.direction.name.lower(), rule.verdict)
            sums[labels] = sums.get(labels, Hits()).adding(hits)
        present = {labels[:3] for labels in sums}
        self._own &= present
        self._own |= set(sorted(present - self._own)[: self._most - len(self._own)])
        own = {labels: hits for labels, hits in sums.items() if labels[:3] in self._own}
        others = {labels: hits for labels, hits in sums.items() if labels[:3] not in self._own}
        for labels, hits in others.items():
            moved = _moved(self._counted.get(labels, Hits()), hits)
            rest = (*OTHER, *labels[3:])
            self._rest[rest] = self._rest.get(rest, Hits()).adding(moved)
        self._counted = others
        if account.rest.packets:
            own[*OTHER, "unknown", "deny"] = account.rest
        return own | self._rest


def _moved(before: Hits, now: Hits) -> Hits:
    """What was counted since; all of it when counting began anew."""
    if now.packets < before.packets:
        return now
    return Hits(
        now.connections - before.connections,
        now.packets - before.packets,
        now.bytes - before.bytes,
    )
