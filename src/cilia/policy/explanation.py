"""Why a connection may be or not, and the smallest change that turns it round.

A change is named only after it has been tried: the object with the change in it is read and
given to an engine, and the answer is the other one.
"""

from collections.abc import Iterable, Iterator

import msgspec

from cilia.model.rules import Direction, Policy, PolicyKey
from cilia.policy.changes import (
    Change,
    Wanted,
    allowing,
    changed,
    denying,
    new_policy,
    parsed,
)
from cilia.policy.connection import Judgement, Step
from cilia.policy.decision import Verdict
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.whatif import Facts, Question, WhatIf

TRIES = 100
"""So many changes are tried of one step."""
ROUNDS = 8
"""So many changes are put together at most."""


class Explanation(msgspec.Struct, frozen=True):
    """An answer with its reasons."""

    question: Question
    judgement: Judgement
    changes: tuple[Change, ...]
    """All of them together turn the answer round; none: no policy can."""
    notes: tuple[str, ...] = ()


def explain(facts: Facts, question: Question) -> Explanation:
    """Judges a connection, and finds what would turn that round."""
    whatif = WhatIf(facts, question)
    judgement = whatif.judgement()
    search = _Search(whatif)
    changes = search.closing() if judgement.allowed else search.opening()
    return Explanation(question, judgement, tuple(changes), tuple(_notes(facts, judgement)))


def _notes(facts: Facts, judgement: Judgement) -> Iterator[str]:
    if not judgement.steps:
        yield "neither side is a pod, so no policy has a say"
    verdicts = {step.decision.verdict for step in judgement.steps}
    if Verdict.NODE in verdicts:
        yield "a node reaches its own pods whatever policy says (allow-localhost)"
    if facts.enforcement != "default":
        yield f"enable-policy is {facts.enforcement}"


class _Search:
    """Finds changes by trying them one after the other; those found stay."""

    def __init__(self, whatif: WhatIf) -> None:
        self._whatif = whatif
        self._documents: dict[PolicyKey, object] = {}
        for key, policy in whatif.policies().items():
            text = whatif.facts.texts.get(key)
            document = msgspec.json.decode(text) if text else None
            # Of an object that was refused, the version before it is in force: not this text.
            if parsed(document, whatif.facts.context, key.source) == policy:
                self._documents[key] = document

    def opening(self) -> list[Change]:
        """Changes that together let the connection be; none if there are none."""
        found: list[Change] = []
        for _ in range(ROUNDS):
            refusing = [s for s in self._whatif.judgement().steps if not s.decision.verdict.passes]
            if not refusing:
                return found
            more = self._open(refusing[0])
            if not more:
                return []
            found += more
        return []

    def _open(self, step: Step) -> list[Change]:
        if step.decision.verdict is Verdict.DENY:
            return self._without(step.decision.rules)
        if step.decision.verdict is not Verdict.DEFAULT_DENY:
            return []
        chosen = self._first(self._allowing(step), step.direction, passes=True)
        return [chosen] if chosen else []

    def _without(self, rules: Iterable[ProvenanceRule]) -> list[Change]:
        """Takes entries out: those behind first, for the places of the others to hold."""
        found = []
        for rule in sorted(rules, key=_list_order, reverse=True):
            change = Change("remove", rule.policy, rule.path)
            if not self._apply(change):
                change = Change("delete", rule.policy)
                if not self._apply(change):
                    return []
            found.append(change)
        return found

    def _allowing(self, step: Step) -> Iterator[Change]:
        wanted = self._wanted(step)
        closers = [rule.policy for rule in step.decision.rules]
        policies = self._whatif.policies()
        for key in sorted(policies, key=lambda k: (k not in closers, k)):
            if key in self._documents:
                yield from allowing(policies[key], self._documents[key], wanted)
        fresh = new_policy(wanted, deny=False)
        if fresh is not None:
            yield fresh

    def closing(self) -> list[Change]:
        """One change that stops the connection; none if there is none."""
        for step in reversed(self._whatif.judgement().steps):
            chosen = self._first(self._denying(step), step.direction, passes=False)
            if chosen is not None:
                return [chosen]
        return []

    def _denying(self, step: Step) -> Iterator[Change]:
        wanted = self._wanted(step)
        rules = [rule for rule in step.decision.rules if rule.index >= 0]
        if len(rules) == 1:
            yield Change("remove", rules[0].policy, rules[0].path)
        policies = self._whatif.policies()
        for key in sorted(policies):
            if key in self._documents:
                yield from denying(policies[key], self._documents[key], wanted)
        fresh = new_policy(wanted, deny=True)
        if fresh is not None:
            yield fresh

    def _wanted(self, step: Step) -> Wanted:
        question = self._whatif.question
        ports = None if question.any_port else question.ports
        return Wanted(step.direction, step.subject, step.peer, ports)

    def _first(
        self, changes: Iterable[Change], direction: Direction, *, passes: bool
    ) -> Change | None:
        """The first change after which a direction passes, or does not; it stays applied."""
        for tries, change in enumerate(changes):
            if tries >= TRIES:
                return None
            before = self._documents.get(change.policy)
            if not self._apply(change):
                continue
            steps = {s.direction: s.decision.verdict for s in self._whatif.judgement().steps}
            if steps[direction].passes == passes:
                return change
            self._restore(change, before)
        return None

    def _apply(self, change: Change) -> bool:
        """Makes a change; False if the object with it would not be valid."""
        document = changed(self._documents.get(change.policy), change)
        if document is None:
            self._whatif.take(change.policy)
            del self._documents[change.policy]
            return True
        policy = self._parsed(document, change)
        if policy is None:
            return False
        self._documents[change.policy] = document
        self._whatif.put(policy)
        return True

    def _parsed(self, document: object, change: Change) -> Policy | None:
        return parsed(document, self._whatif.facts.context, change.policy.source)

    def _restore(self, change: Change, before: object) -> None:
        policy = self._parsed(before, change) if before is not None else None
        if policy is None:
            self._documents.pop(change.policy, None)
            self._whatif.take(change.policy)
        else:
            self._documents[change.policy] = before
            self._whatif.put(policy)


def _list_order(rule: ProvenanceRule) -> tuple[PolicyKey, str, int]:
    return rule.policy, rule.path.rpartition("[")[0], rule.index
