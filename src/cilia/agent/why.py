"""`GET /v1/why`: why a connection may be or not, and what would turn that round.

Answers from what this node's policy engine knows. Policies and identities are the
cluster's, so the answer holds for pods of other nodes as well.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from cilia.agent.parties import Destination, Parties
from cilia.agent.views import rule_json
from cilia.model.errors import InvalidValue
from cilia.model.ports import PROTOCOLS
from cilia.model.rules import Policy, PolicyKey
from cilia.policy import facts
from cilia.policy.changes import Change
from cilia.policy.connection import Party, Step, ports_text, rule_text
from cilia.policy.contents import Enforcement
from cilia.policy.engine import PolicyEngine
from cilia.policy.explanation import Explanation, explain
from cilia.policy.prefix_table import Worlds
from cilia.policy.sources import Context
from cilia.policy.whatif import Facts, Question
from cilia.state.tables import Tables

Json = dict[str, Any]


class WhyRequest(msgspec.Struct, frozen=True):
    """What is asked, as the query writes it."""

    source: str
    destination: str
    port: str = ""
    """A number or the name of one; empty: whatever no rule names."""
    protocol: str = "TCP"


class WhySettings(msgspec.Struct, frozen=True):
    """What answers depend on besides tables."""

    context: Context = Context()
    enforcement: Enforcement = Enforcement.DEFAULT
    allow_node: bool = True
    worlds: Worlds = Worlds()
    cidr_matches: frozenset[str] = frozenset()
    """What CIDR rules match besides the world: nodes, pods."""

    @property
    def dual_stack(self) -> bool:
        """Both families have a world of their own."""
        return self.worlds.v4 and self.worlds.v6


def why(
    tables: Tables, engine: PolicyEngine, request: WhyRequest, settings: WhySettings, error: str
) -> Json:
    """Returns the answer, first in one sentence and then in all its steps.

    Args:
        error: Why the kernel does not do what the engine says; empty if it does.

    Raises:
        InvalidValue: a party or port that is written wrongly.
        NotFound: a party that is not there.
    """
    known_protocols = {name.lower(): number for name, number in PROTOCOLS.items()}
    number = known_protocols.get(request.protocol.lower())
    if number is None:
        known = ", ".join(PROTOCOLS)
        raise InvalidValue(f"protocol {request.protocol!r} is not known; write one of {known}")
    parties = Parties(
        tables,
        settings.context.cluster,
        dual_stack=settings.dual_stack,
        cidr_matches=settings.cidr_matches,
    )
    source = parties.source(request.source)
    destinations = parties.destinations(request.destination, request.port, number)
    answers = [
        _answer(_facts(tables, engine, settings, (source, each.party)), source, each, tables)
        for each in destinations
    ]
    # One backend that is refused is what somebody will stumble over.
    chosen = min(answers, key=lambda each: each["allowed"])
    if len(answers) > 1:
        chosen["backends"] = [
            {"to": each["to"], "allowed": each["allowed"], "answer": each["answer"]}
            for each in answers
        ]
    if error:
        chosen["notes"].append(f"the kernel is not in step with this: {error}")
    return chosen


def _facts(
    tables: Tables, engine: PolicyEngine, settings: WhySettings, parties: Sequence[Party]
) -> Facts:
    policies: dict[PolicyKey, Policy] = {}
    for party in parties:
        if party.endpoint:
            policies |= engine.subjects.policies_on(party.labels)
    rows = [tables.policies.get(astuple(key)) for key in policies]
    return Facts(
        policies=policies,
        texts={PolicyKey(*row.key): row.text for row in rows if row is not None},
        groups=tuple(map(facts.group_of, tables.cidr_groups)),
        services=tuple(facts.services_of(tables.services, tables.endpoint_slices)),
        context=settings.context,
        enforcement=settings.enforcement,
        allow_node=settings.allow_node,
        worlds=settings.worlds,
    )


def _answer(held: Facts, source: Party, destination: Destination, tables: Tables) -> Json:
    question = Question(source, destination.party, destination.ports, destination.any_port)
    explanation = explain(held, question)
    judgement = explanation.judgement
    return {
        "answer": _headline(explanation),
        "allowed": judgement.allowed,
        "from": source.title,
        "to": destination.party.title,
        "port": "" if destination.any_port else str(destination.ports.port),
        "protocol": ports_text(destination.ports).partition("/")[2],
        "service": destination.service,
        "steps": [_step_json(step, tables) for step in judgement.steps],
        "changes": [_change_json(change) for change in explanation.changes],
        "notes": [*destination.notes, *explanation.notes],
    }


def _headline(explanation: Explanation) -> str:
    judgement = explanation.judgement
    names = ", ".join(dict.fromkeys(str(rule.policy) for rule in judgement.rules))
    if judgement.allowed:
        return f"ALLOWED by {names}" if names else "ALLOWED: no policy closes the way"
    step = judgement.deciding[0]
    side = f"{step.direction.name.lower()} of {step.subject.title}"
    if step.decision.verdict == "deny":
        return f"DENIED by {names}: a deny rule for {side}"
    if step.decision.verdict == "default-deny":
        return f"DENIED by {names}: closes {side}, and no rule allows this"
    return f"DENIED: who {step.peer.title} is, is not known"


def _step_json(step: Step, tables: Tables) -> Json:
    return {
        "direction": step.direction.name.lower(),
        "subject": step.subject.title,
        "peer": step.peer.title,
        "allowed": step.decision.verdict.passes,
        "verdict": str(step.decision.verdict),
        "rules": [
            rule_json(rule, tables.policies) | {"text": rule_text(rule)}
            for rule in step.decision.rules
        ],
    }


def _change_json(change: Change) -> Json:
    policy = change.policy
    return {
        "action": change.action,
        "kind": policy.kind,
        "namespace": policy.namespace,
        "name": policy.name,
        "source": policy.source,
        "path": change.path,
        "value": change.value,
    }
