"""A connection between two parties, judged at both ends as the datapath does."""

import ipaddress

import msgspec

from cilia.model.labels import LabelSet, Network
from cilia.model.ports import PROTOCOL_NAMES, NamedPorts
from cilia.model.rules import Direction
from cilia.policy.decision import Decider, Decision, Peer, Ports
from cilia.policy.provenance import ProvenanceRule


class Party(msgspec.Struct, frozen=True):
    """Who sends or receives."""

    title: str
    """For people, as `pod default/xwing` or `1.1.1.1`."""
    peer: Peer
    """How the other side's policy sees it."""
    endpoint: int = 0
    """Its id in the engine; 0: it is not a pod, so it has no policy."""
    labels: LabelSet = ()
    ports: NamedPorts = frozenset()
    at: Network | None = None
    """Its address, where CIDR rules match it although its identity is known."""


class Step(msgspec.Struct, frozen=True):
    """What one end decides."""

    direction: Direction
    subject: Party
    """Whose policy it is."""
    peer: Party
    decision: Decision


class Judgement(msgspec.Struct, frozen=True):
    """What both ends decide: egress of the source first, as packets meet them."""

    steps: tuple[Step, ...]

    @property
    def allowed(self) -> bool:
        """True if both ends let the connection be."""
        return all(step.decision.verdict.passes for step in self.steps)

    @property
    def deciding(self) -> tuple[Step, ...]:
        """The step that forbids it; where none does, those in which a rule allows it."""
        refusing = [step for step in self.steps if not step.decision.verdict.passes]
        return tuple(refusing[:1]) or tuple(s for s in self.steps if s.decision.rules)

    @property
    def rules(self) -> tuple[ProvenanceRule, ...]:
        """The rules that decide."""
        return tuple(rule for step in self.deciding for rule in step.decision.rules)


def judge(decider: Decider, source: Party, destination: Party, ports: Ports) -> Judgement:
    """What both ends decide of a connection."""
    steps = []
    for direction, subject, peer in (
        (Direction.EGRESS, source, destination),
        (Direction.INGRESS, destination, source),
    ):
        if subject.endpoint:
            decision = decider.decide(subject.endpoint, direction, peer.peer, ports, peer.at)
            steps.append(Step(direction, subject, peer, decision))
    return Judgement(tuple(steps))


def outside(text: str) -> Party:
    """The party at an address or prefix that nobody manages.

    Raises:
        ValueError: It is neither.
    """
    network = ipaddress.ip_network(text, strict=False)
    return Party(text, network)


def rule_text(rule: ProvenanceRule) -> str:
    """A rule as people name it: `CiliumNetworkPolicy default/rule1 spec.ingress[0]`."""
    return f"{rule.policy} {rule.path}".rstrip()


def ports_text(ports: Ports) -> str:
    """A port as people write it: `80/TCP`."""
    return f"{ports.port}/{PROTOCOL_NAMES.get(ports.protocol, ports.protocol)}"
