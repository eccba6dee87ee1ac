"""What policies come to for two parties, whoever they are and whatever is changed."""

from collections.abc import Mapping

import msgspec

from cilia.model.prefixes import prefix_key
from cilia.model.rules import Policy, PolicyKey
from cilia.policy.connection import Judgement, Party, judge
from cilia.policy.contents import Enforcement
from cilia.policy.decision import Decider, Ports
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.prefix_table import Worlds
from cilia.policy.resolution import CidrGroup, PolicyService
from cilia.policy.sources import Context

SOURCE, DESTINATION = 1, 2
"""Endpoint ids of the two parties, where they are pods."""


class Facts(msgspec.Struct, frozen=True):
    """What a node knows of policy, as far as it is about two parties."""

    policies: Mapping[PolicyKey, Policy]
    """In force, and selecting one of them."""
    texts: Mapping[PolicyKey, bytes]
    """Policy objects as JSON, as they were written last."""
    groups: tuple[CidrGroup, ...] = ()
    services: tuple[PolicyService, ...] = ()
    context: Context = Context()
    enforcement: Enforcement = Enforcement.DEFAULT
    allow_node: bool = True
    worlds: Worlds = Worlds()


class Question(msgspec.Struct, frozen=True):
    """May this connection be?"""

    source: Party
    destination: Party
    ports: Ports
    any_port: bool = False
    """No port was named: it is about those that no rule names."""


class WhatIf:
    """An engine with nothing in it but one question's parties and the policies of these."""

    def __init__(self, facts: Facts, question: Question) -> None:
        self.facts = facts
        self.question = question
        engine = PolicyEngine(facts.enforcement, worlds=facts.worlds)
        self._decider = Decider(engine, allow_node=facts.allow_node, worlds=facts.worlds)
        engine.set_cidr_groups(facts.groups)
        engine.set_services(facts.services)
        parties = (question.source, question.destination)
        for party in parties:
            if isinstance(party.peer, int) and party.labels:
                both = [p.ports for p in parties if p.peer == party.peer]
                engine.set_identity(party.peer, party.labels, frozenset().union(*both))
            if party.at is not None and isinstance(party.peer, int):
                engine.set_address(prefix_key(party.at), party.peer)
            if party.endpoint and isinstance(party.peer, int):
                engine.set_endpoint(party.endpoint, Endpoint(party.peer, party.ports))
        for policy in facts.policies.values():
            engine.set_policy(policy)
        self._decider.commit()

    def judgement(self) -> Judgement:
        """What both ends decide now."""
        question = self.question
        return judge(self._decider, question.source, question.destination, question.ports)

    def put(self, policy: Policy) -> None:
        """Adds or replaces a policy."""
        self._decider.engine.set_policy(policy)
        self._decider.commit()

    def take(self, key: PolicyKey) -> None:
        """Takes a policy out."""
        self._decider.engine.delete_policy(key)
        self._decider.commit()

    def policies(self) -> Mapping[PolicyKey, Policy]:
        """The policies as they are now."""
        return self._decider.engine.subjects.policies
