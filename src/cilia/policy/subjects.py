"""Subjects: this node's endpoints, and which specs of which policies select them."""

from collections.abc import Iterable, Mapping

from cilia.model.labels import LabelSet
from cilia.model.rules import Policy, PolicyKey, Spec
from cilia.policy.selectors import LabelIndex, SelectorIndex


class SubjectTable:
    """Endpoint identities x specs: who is selected by what.

    Attributes:
        specs: Every spec, by a number that a spec keeps as long as it does not change.
        selected: For each endpoint identity the numbers of the specs that select it.
        users: For each spec that selects anyone, the endpoint identities it selects.
        touched: Identities for which `selected` has changed; the caller clears it.
    """

    def __init__(self) -> None:
        self.specs: dict[int, Spec] = {}
        self.selected: dict[int, set[int]] = {}
        self.users: dict[int, set[int]] = {}
        self.touched: set[int] = set()
        self.policies: dict[PolicyKey, Policy] = {}
        self._spec_numbers: dict[PolicyKey, dict[Spec, int]] = {}
        self._labels = LabelIndex()
        self._index = SelectorIndex()
        self._next = 1

    def set_policy(self, policy: Policy) -> None:
        """Adds or replaces a policy; its specs that stay as they were keep their numbers."""
        self.policies[policy.key] = policy
        self._set_specs(policy.key, policy.specs)

    def delete_policy(self, key: PolicyKey) -> None:
        """Takes a policy out."""
        if self.policies.pop(key, None) is not None:
            self._set_specs(key, ())
            del self._spec_numbers[key]

    def spec_numbers(self, key: PolicyKey) -> Mapping[Spec, int]:
        """The specs of a policy and their numbers."""
        return self._spec_numbers.get(key, {})

    def policies_on(self, labels: LabelSet) -> dict[PolicyKey, Policy]:
        """The policies that select a label set, whether any endpoint here has it or not."""
        keys = {self.specs[number].policy for number in self._index.matching(labels)}
        return {key: self.policies[key] for key in keys}

    def set_identities(self, identities: Mapping[int, LabelSet]) -> None:
        """Says which identities this node's endpoints have, and with which labels."""
        for identity in [i for i in self.selected if i not in identities]:
            self._drop_identity(identity)
        for identity, labels in identities.items():
            if identity in self.selected:
                if self._labels.labels(identity) == labels:
                    continue
                self._drop_identity(identity)
            self._labels.add(identity, labels)
            self.selected[identity] = set(self._index.matching(labels))
            for spec in self.selected[identity]:
                self.users.setdefault(spec, set()).add(identity)
            self.touched.add(identity)

    def _drop_identity(self, identity: int) -> None:
        self._labels.remove(identity)
        for spec in self.selected.pop(identity):
            self._drop_user(spec, identity)
        self.touched.discard(identity)

    def _drop_user(self, spec: int, identity: int) -> None:
        self.users[spec].discard(identity)
        if not self.users[spec]:
            del self.users[spec]

    def _set_specs(self, key: PolicyKey, specs: Iterable[Spec]) -> None:
        before = self._spec_numbers.get(key, {})
        now: dict[Spec, int] = {}
        for spec in specs:
            now[spec] = before[spec] if spec in before else self._add(spec)
        for spec, number in before.items():
            if spec not in now:
                self._remove(spec, number)
        self._spec_numbers[key] = now

    def _add(self, spec: Spec) -> int:
        number, self._next = self._next, self._next + 1
        self.specs[number] = spec
        self._index.add(number, spec.subject)
        for identity in self._labels.select(spec.subject):
            self.selected[identity].add(number)
            self.users.setdefault(number, set()).add(identity)
            self.touched.add(identity)
        return number

    def _remove(self, spec: Spec, number: int) -> None:
        self._index.remove(number, spec.subject)
        del self.specs[number]
        for identity in self.users.pop(number, set()):
            self.selected[identity].discard(number)
            self.touched.add(identity)
