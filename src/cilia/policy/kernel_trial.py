"""Cases through the real programs, whole: by every way that their packets can take.

pod ───────▶ pod ──── pod_from: egress, and ingress of a pod on the same node
pod ───────▶ others ─ pod_from: egress
elsewhere ─▶ pod ──── host_from_net: ingress, a pod of another node among the senders
the node ──▶ pod ──── host_to_pod: ingress
"""

import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import msgspec

from cilia.model.identities import ReservedIdentity
from cilia.model.ports import ICMP_V4, ICMP_V6
from cilia.model.rules import Direction
from cilia.policy.connection import Party, Step
from cilia.policy.decision import Decision, Peer, Verdict
from cilia.policy.frames import opens_connection
from cilia.policy.kernel_programs import End, Programs
from cilia.policy.trial.cases import Outcome
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.crosscheck import Crosscheck, Difference

_ONE_FAMILY = {
    int(ReservedIdentity.WORLD_IPV4): 4,
    int(ReservedIdentity.WORLD_IPV6): 6,
}


def crosscheck(cluster: Cluster, outcomes: Sequence[Outcome]) -> Crosscheck:
    """Sends each case through the programs, and compares with what the engine decided.

    Raises:
        CannotAsk: The kernel refuses, or the rows do not fit.
    """
    matched = {
        party.at: party.peer
        for party in cluster.addresses.values()
        if party.at is not None and isinstance(party.peer, int)
    }
    with ExitStack() as stack:
        programs = Programs(cluster.decider, stack, matched)
        differences: list[Difference] = []
        sent = passed_over = 0
        for outcome in outcomes:
            versions = versions_of(outcome) if opens_connection(outcome.case.ports) else ()
            passed_over += not versions
            for version in versions:
                for step, way, found in _ask(programs, outcome, version):
                    sent += 1
                    expected = _expected(cluster, outcome, step)
                    if _seen(expected) != _seen(found):
                        differences.append(Difference(outcome, step, expected, found, way))
        return Crosscheck(sent, passed_over, tuple(differences))


def versions_of(outcome: Outcome) -> tuple[int, ...]:
    """The IP versions in which a case's packet can be sent."""
    case = outcome.case
    found = {ICMP_V4: {4}, ICMP_V6: {6}}.get(case.ports.protocol, {4, 6})
    for party in (case.source, case.destination):
        place = party.at if isinstance(party.peer, int) else party.peer
        if place is not None:
            found = found & {place.version}
        elif party.peer in _ONE_FAMILY:
            found = found & {_ONE_FAMILY[int(str(party.peer))]}
    return tuple(sorted(found))


def _ask(
    programs: Programs, outcome: Outcome, version: int
) -> Iterator[tuple[Step, str, Decision]]:
    """Each step that a program decides, by which way, and what it says."""
    case = outcome.case
    source, destination = _end(case.source), _end(case.destination)
    for step in outcome.judgement.steps:
        if step.direction is Direction.INGRESS:
            # Whoever it is, here it is no pod of this node.
            stranger = msgspec.structs.replace(source, endpoint=0)
            of_node = source.identity == ReservedIdentity.HOST
            program = "host_to_pod" if of_node else "host_from_net"
            found = programs.enter(program, stranger, destination, case.ports, version)
            yield step, f"{program}, IPv{version}", found
    if source.endpoint:
        decided = programs.leave(source, destination, case.ports, version)
        for step in outcome.judgement.steps:
            if step.direction in decided:
                yield step, f"pod_from, IPv{version}", decided[step.direction]


def _expected(cluster: Cluster, outcome: Outcome, step: Step) -> Decision:
    peer = _first(step.peer.peer)
    return cluster.decider.decide(
        step.subject.endpoint, step.direction, peer, outcome.case.ports, step.peer.at
    )


def _first(peer: Peer) -> Peer:
    """A prefix is asked about by its first address, of the engine as of the programs."""
    return peer if isinstance(peer, int) else ipaddress.ip_network(peer.network_address)


def _end(party: Party) -> End:
    if not isinstance(party.peer, int):
        return End(at=party.peer.network_address)
    at = party.at.network_address if party.at is not None else None
    return End(party.peer, party.endpoint, at)


def _seen(decision: Decision) -> tuple[Verdict, tuple[str, ...]]:
    """What of a decision both sides can tell: rules, whatever their order.

    Where nothing closes a pod, the programs do not ask whether it is its node that comes.
    """
    is_node = decision.verdict is Verdict.NODE
    verdict = Verdict.NOT_ENFORCED if is_node else decision.verdict
    return verdict, tuple(sorted(map(str, decision.rules)))
