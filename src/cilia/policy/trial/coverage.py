"""Which rules the cases exercise."""

from collections.abc import Iterable

from cilia.model.rules import Direction, Entry, Policy
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.resolution import provenance_rule
from cilia.policy.trial.cases import Outcome


def rules_of(policy: Policy) -> list[ProvenanceRule]:
    """Everything in a policy that can decide: entries that speak of someone, and closings."""
    found = []
    for spec in policy.specs:
        found += [
            provenance_rule(policy.key, entry, spec.log) for entry in spec.entries if speaks(entry)
        ]
        found += [
            ProvenanceRule(policy.key, spec.path, -1, direction, "default-deny", spec.log)
            for direction in Direction
            if spec.closes[direction]
        ]
    return found


def speaks(entry: Entry) -> bool:
    """True if an entry is about anyone at all; `{}` only closes its direction."""
    peers = entry.peers
    return peers is None or bool(peers.selectors or peers.cidrs or peers.groups or peers.services)


def exercised(outcomes: Iterable[Outcome]) -> set[ProvenanceRule]:
    """The rules that had a part in any decision."""
    return {
        rule
        for outcome in outcomes
        for step in outcome.judgement.steps
        for rule in step.decision.rules
    }


def untried(policies: Iterable[Policy], outcomes: Iterable[Outcome]) -> list[ProvenanceRule]:
    """The rules that no case exercises, in order."""
    tried = exercised(outcomes)
    return sorted({r for policy in policies for r in rules_of(policy)} - tried)
