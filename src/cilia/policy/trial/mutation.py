"""Mutants: policies with one rule less or wider. Cases that notice none test little."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from cilia.model.rules import Direction, Entry, Policy, Spec
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.resolution import provenance_rule
from cilia.policy.trial.cases import Outcome, run_cases
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.coverage import speaks


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
        cluster: Is as it was afterwards.
        outcomes: Of the cluster as it is; cases that fail already cannot notice anything.
    """
    found: list[Mutant] = []
    count = 0
    for policy in list(cluster.manifests.policies.values()):
        selected = set(cluster.decider.engine.endpoints_of(policy.key))
        able = [o for o in outcomes if o.passed and _is_about(o, selected)]
        for mutant in mutants(policy):
            count += 1
            if not able or not _is_noticed(cluster, mutant, able):
                found.append(mutant)
        cluster.decider.engine.set_policy(policy)
        cluster.decider.commit()
    return found, count


def _is_about(outcome: Outcome, endpoints: set[int]) -> bool:
    case = outcome.case
    return case.source.endpoint in endpoints or case.destination.endpoint in endpoints


def _is_noticed(cluster: Cluster, mutant: Mutant, able: Iterable[Outcome]) -> bool:
    cluster.decider.engine.set_policy(mutant.policy)
    cluster.decider.commit()
    return any(not o.passed for o in run_cases(cluster, [o.case for o in able]))
