"""Mutants: policies with one rule less or wider. Cases that notice none test little."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from cilia.model.rules import Direction, Entry, Policy, Spec
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.resolution import provenance_rule
from cilia.policy.trial.cases import Case, Outcome, run_case
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.coverage import speaks
from cilia.policy.trial.supposition import can_be_supposed, supposed


class Mutant(msgspec.Struct, frozen=True):
    """One change of one rule."""

    rule: ProvenanceRule
    change: str
    """What was done to it, as `deleted`."""
    policy: Policy
    """The policy with the change."""


def mutants(policy: Policy) -> Iterator[Mutant]:
    """Every mutant of a policy."""
    for place, spec in enumerate(policy.specs):
        for at, entry in enumerate(spec.entries):
            rule = provenance_rule(policy.key, entry, spec.log)
            for change, changed in _changes(entry):
                entries = (*spec.entries[:at], *changed, *spec.entries[at + 1 :])
                mutated = msgspec.structs.replace(spec, entries=entries)
                yield Mutant(rule, change, _with_spec(policy, place, mutated))
        for direction in Direction:
            if spec.closes[direction]:
                rule = ProvenanceRule(
                    policy.key, spec.path, -1, direction, "default-deny", spec.log
                )
                opened = _opened(spec, direction)
                yield Mutant(rule, "default deny lifted", _with_spec(policy, place, opened))


def _changes(entry: Entry) -> Iterator[tuple[str, tuple[Entry, ...]]]:
    if not speaks(entry):
        return
    yield "deleted", ()
    if entry.peers is not None:
        yield "for any peer", (msgspec.structs.replace(entry, peers=None),)
    if entry.ports is not None:
        yield "for any port", (msgspec.structs.replace(entry, ports=None),)


def _opened(spec: Spec, direction: Direction) -> Spec:
    ingress = spec.closes[0] and direction is not Direction.INGRESS
    egress = spec.closes[1] and direction is not Direction.EGRESS
    return msgspec.structs.replace(spec, closes=(ingress, egress))


def _with_spec(policy: Policy, place: int, spec: Spec) -> Policy:
    specs = (*policy.specs[:place], spec, *policy.specs[place + 1 :])
    return msgspec.structs.replace(policy, specs=specs)


def survivors(cluster: Cluster, outcomes: Sequence[Outcome]) -> tuple[list[Mutant], int]:
    """The mutants that no case notices, and how many there are in all.

    Args:
        cluster: Stays as it is.
        outcomes: Of the cluster as it is; cases that fail already cannot notice anything.
    """
    found: list[Mutant] = []
    count = 0
    able = _by_subject(outcomes)
    for policy in cluster.manifests.policies.values():
        selected = cluster.decider.engine.endpoints_of(policy.key)
        for mutant in mutants(policy):
            count += 1
            # What a rule of one direction says, only the end that it is about can notice.
            asked = {e: able[subject] for e in selected if (subject := _subject(mutant, e)) in able}
            if not asked or not _is_noticed(cluster, policy, mutant, asked):
                found.append(mutant)
    return found, count


Subject = tuple[Direction, int]
"""A direction, and the endpoint whose policy decides it."""


def _by_subject(outcomes: Iterable[Outcome]) -> dict[Subject, list[Outcome]]:
    """The cases that pass, under each end that is a pod."""
    found: dict[Subject, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.passed:
            for step in outcome.judgement.steps:
                found.setdefault((step.direction, step.subject.endpoint), []).append(outcome)
    return found


def _subject(mutant: Mutant, endpoint: int) -> Subject:
    return mutant.rule.direction, endpoint


def _is_noticed(
    cluster: Cluster, policy: Policy, mutant: Mutant, asked: Mapping[int, Sequence[Outcome]]
) -> bool:
    numbers = cluster.decider.engine.subjects.spec_numbers(policy.key)
    changed = {
        numbers[before]: after
        for before, after in zip(policy.specs, mutant.policy.specs, strict=True)
        if before != after
    }
    cases = [outcome.case for outcomes in asked.values() for outcome in outcomes]
    if not can_be_supposed(cluster.decider, changed.values()):
        return _is_noticed_when_applied(cluster, policy, mutant, cases)
    peers = {
        endpoint: {
            (step.peer.peer, step.peer.at)
            for outcome in outcomes
            for step in outcome.judgement.steps
            if (step.direction, step.subject.endpoint) == _subject(mutant, endpoint)
        }
        for endpoint, outcomes in asked.items()
    }
    with supposed(cluster.decider, changed, peers):
        return not all(run_case(cluster, case).passed for case in cases)


def _is_noticed_when_applied(
    cluster: Cluster, policy: Policy, mutant: Mutant, cases: Iterable[Case]
) -> bool:
    cluster.decider.engine.set_policy(mutant.policy)
    cluster.decider.commit()
    try:
        return not all(run_case(cluster, case).passed for case in cases)
    finally:
        cluster.decider.engine.set_policy(policy)
        cluster.decider.commit()
