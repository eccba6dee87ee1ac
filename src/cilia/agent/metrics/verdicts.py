"""Verdicts by the policies behind them, from the account of rules."""

from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric

from cilia.agent.metrics.families import look
from cilia.agent.rule_hits import Account, Hits
from cilia.policy.provenance import ProvenanceRule

MOST = 1000
"""Policies with series of their own; what others count goes to OTHER."""
OTHER = ("", "", "other")
"""Kind, namespace and name of the rest."""

Policy = tuple[str, str, str]


class PolicyVerdicts:
    """A collector over the account of rules.

    A policy that had series of its own keeps them while it is there: which policies count as
    the rest does not change from one scrape to the next, so that counters only rise.
    """

    def __init__(self, account: Callable[[], Account], most: int = MOST) -> None:
        self._account = account
        self._most = most
        self._own: set[Policy] = set()
        self._summed: tuple[Account | None, dict[tuple[str, ...], Hits]] = (None, {})

    def collect(self) -> Iterable[Metric]:
        """Returns the account as it was kept last."""
        account = self._account()
        if account is not self._summed[0]:
            self._summed = (account, self._sums(account))
        sums = self._summed[1]
        for family, field in (
            ("policy_verdict_packets_total", "packets"),
            ("policy_verdict_bytes_total", "bytes"),
            ("policy_verdict_connections_total", "connections"),
        ):
            yield look(
                family, [(labels, getattr(hits, field)) for labels, hits in sorted(sums.items())]
            )

    def _sums(self, account: Account) -> dict[tuple[str, ...], Hits]:
        totals = account.totals
        present = {_policy(rule) for rule in totals}
        self._own &= present
        room = self._most - len(self._own)
        self._own |= set(sorted(present - self._own)[:room])
        sums: dict[tuple[str, ...], Hits] = {}
        for rule, hits in totals.items():
            policy = _policy(rule)
            named = policy if policy in self._own else OTHER
            labels = (*named, rule.direction.name.lower(), rule.verdict)
            sums[labels] = sums.get(labels, Hits()).adding(hits)
        if account.rest.packets:
            sums[*OTHER, "unknown", "deny"] = account.rest
        return sums


def _policy(rule: ProvenanceRule) -> Policy:
    return (rule.policy.kind, rule.policy.namespace, rule.policy.name)
