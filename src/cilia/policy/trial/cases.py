"""`cases.yaml`: who shall reach whom, and because of which policy."""

import difflib
from collections.abc import Iterable

import msgspec

from cilia.model.errors import PolicyError
from cilia.model.rules import PolicyKey
from cilia.policy.connection import Judgement, Party, ports_text
from cilia.policy.decision import Ports
from cilia.policy.syntax.fields import Field
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.documents import BrokenInput, Document
from cilia.policy.trial.parties import target_ports, targets

_FIELDS = ("from", "to", "port", "expect", "because", "name")
_REQUIRED = ("from", "to", "port", "expect")


class Case(msgspec.Struct, frozen=True):
    """One expectation."""

    place: str
    """File and line."""
    name: str
    """What the writer calls it; may be empty."""
    source: Party
    destination: Party
    ports: Ports
    allow: bool
    because: str
    """The policy that must be the reason; empty: any."""

    @property
    def title(self) -> str:
        """`default/xwing -> default/deathstar 80/TCP`."""
        words = f"{self.source.title} -> {self.destination.title} {ports_text(self.ports)}"
        return f"{self.name}: {words}" if self.name else words


class Outcome(msgspec.Struct, frozen=True):
    """A case, and what was decided."""

    case: Case
    judgement: Judgement

    @property
    def verdict_holds(self) -> bool:
        """True if it was allowed or denied as expected."""
        return self.judgement.allowed == self.case.allow

    @property
    def reason_holds(self) -> bool:
        """True if the policy that was named is among the reasons."""
        because = self.case.because
        return not because or any(is_named(rule.policy, because) for rule in self.judgement.rules)

    @property
    def passed(self) -> bool:
        """True if everything is as expected."""
        return self.verdict_holds and self.reason_holds


def is_named(policy: PolicyKey, text: str) -> bool:
    """True if a text names a policy: `rule1`, `default/rule1` or its kind before that."""
    full = f"{policy.namespace}/{policy.name}" if policy.namespace else policy.name
    return text in (policy.name, full, f"{policy.kind} {full}", f"{policy.kind}/{full}")


def read_cases(documents: Iterable[Document], cluster: Cluster) -> list[Case]:
    """The cases of documents, and their parties in the cluster.

    Raises:
        BrokenInput: One is wrong: file, line, field and remedy.
    """
    found: list[Case] = []
    for document in documents:
        if not isinstance(document.content, list):
            raise BrokenInput(f"{document.place}: is not a list; begin each case with a dash")
        for index, item in enumerate(document.content):
            place = document.place_of(f"[{index}]")
            try:
                found += _cases(Field(f"case {index + 1}", "", item), place, cluster)
            except PolicyError as error:
                raise BrokenInput(f"{place}: {error}") from None
    return found


def _cases(field: Field, place: str, cluster: Cluster) -> Iterable[Case]:
    members = field.mapping(_FIELDS)
    for name in _REQUIRED:
        if name not in members:
            Field(field.where, name, None).refuse("is missing", f"write {name}")
    allow = members["expect"].choice(("allow", "deny")) == "allow"
    because = members["because"].text() if "because" in members else ""
    if because:
        _check_because(members["because"], cluster)
    name = members["name"].text() if "name" in members else ""
    port = members["port"]
    listed = port.items() if isinstance(port.found, list) else [port]
    sources = targets(members["from"], cluster)
    for source in sources:
        for target in targets(members["to"], cluster):
            for each in listed:
                ports = target_ports(each, target)
                yield Case(place, name, source.party, target.party, ports, allow, because)


def _check_because(field: Field, cluster: Cluster) -> None:
    text, policies = field.text(), cluster.manifests.policies
    if not any(is_named(key, text) for key in policies):
        known = [f"{k.namespace}/{k.name}" if k.namespace else k.name for k in policies]
        near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "name a policy of the manifests"
        field.refuse("is no policy of the manifests", hint)


def run_case(cluster: Cluster, case: Case) -> Outcome:
    """What the cluster decides of a case; `cluster.decider.commit` comes first."""
    return Outcome(case, cluster.judge(case.source, case.destination, case.ports))


def run_cases(cluster: Cluster, cases: Iterable[Case]) -> list[Outcome]:
    """What the cluster decides of each case."""
    return [run_case(cluster, case) for case in cases]
