"""The engine: policies, identities and endpoints in, steps for the kernel out.

A pure state machine. Changes are gathered; `commit` says what they come to, as a
`Delta` whose steps, done in order, never let through what both the state before and
the state after forbid, and never stop what both allow.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from cilia.model.identities import reserved_labels
from cilia.model.labels import LabelSet
from cilia.model.ports import NamedPorts
from cilia.model.prefixes import PREFIX_KEY, PrefixKeys
from cilia.model.rules import Policy, PolicyKey, Spec
from cilia.policy.claim_table import ClaimTable, closers_of, grants_of
from cilia.policy.contents import Enforcement, Rulebook, content_of, used_ports
from cilia.policy.delta import (
    CLOSED,
    Assign,
    Assignment,
    ClassifyAddresses,
    DeleteRows,
    Delta,
    ForgetMembers,
    MoveMembers,
    RemovePrefixes,
    Rows,
    Step,
    WritePrefixes,
    WriteRows,
    has_work,
    members_of,
    prefixes_of,
    rows_of,
)
from cilia.policy.hints import Hints
from cilia.policy.numbers import Content, PolicyNumber, TemplateTable
from cilia.policy.peers import Peer, PeerTable
from cilia.policy.prefix_table import Worlds
from cilia.policy.provenance import Provenance, ProvenanceRule
from cilia.policy.registry import ContentKey, NumberTable
from cilia.policy.resolution import (
    CidrGroup,
    PolicyService,
    groups_by_name,
)
from cilia.policy.selector_use import SelectorUse, selector_uses
from cilia.policy.subjects import SubjectTable
from cilia.policy.takeover import Held, take_over

INIT_LABEL = "reserved:init"
Subject = tuple[int, NamedPorts]  # what decides an endpoint's rows
_NO_KEYS: PrefixKeys = np.zeros(0, dtype=PREFIX_KEY)


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint of this node."""

    identity: int
    ports: NamedPorts = frozenset()
    """Named ports of its containers."""
    audit: bool = False
    """What policy would drop passes, and is reported."""


class PolicyEngine:
    """Everything policy knows of this node.

    Attributes:
        revision: Counts commits; rows and endpoints carry it as their generation.
        provenance: The rules behind each provenance number.
        peers: Identities, prefixes and classes.
        templates: Rows that policy numbers share.
        claims: What specs that select anyone claim.
        subjects: Policies, and which endpoint identities they select.
        endpoints: This node's endpoints, by id.
        selections: Rises when the same policies may select other endpoints than before.
        assigned: What each endpoint was last assigned.
        applied: For each policy the revision at which it took effect as it is now.
    """

    def __init__(
        self,
        enforcement: Enforcement = Enforcement.DEFAULT,
        hints: Hints | None = None,
        worlds: Worlds | None = None,
    ) -> None:
        hints = hints or Hints()
        classes = {int(key, 16): number for key, number in hints.classes.items()}
        self.revision = hints.revision
        self.provenance = Provenance(hints.next_provenance)
        self.peers = PeerTable(classes, hints.next_class, hints.secret, worlds)
        self.subjects = SubjectTable()
        self.templates = TemplateTable(self.provenance)
        self.numbers = NumberTable(hints.next_policy, self.templates)
        self.endpoints: dict[int, Endpoint] = {}
        self.selections = 0
        self._of_identity: dict[int, set[int]] = {}
        self.assigned: dict[int, Assignment] = {}
        self.applied: dict[PolicyKey, int] = {}
        self._enforcement = enforcement
        self.claims = ClaimTable()
        self._chosen: dict[Subject, int] = {}
        self._named_ports: Counter[tuple[str, int, int]] = Counter()
        self._pending: set[PolicyKey] = set()
        self._judge_again = False
        for number, labels in reserved_labels().items():
            self.set_identity(number, labels)

    def set_policy(self, policy: Policy) -> None:
        """Adds or replaces a policy."""
        if self.subjects.policies.get(policy.key) != policy:
            self.subjects.set_policy(policy)
            self._pending.add(policy.key)

    def delete_policy(self, key: PolicyKey) -> None:
        """Takes a policy out."""
        self.subjects.delete_policy(key)
        self._pending.discard(key)
        self.applied.pop(key, None)

    def set_identity(self, number: int, labels: LabelSet, ports: NamedPorts = frozenset()) -> None:
        """Adds an identity, or changes it.

        Args:
            number: The identity.
            labels: What it carries.
            ports: Named ports of all pods anywhere that have it.
        """
        before = self.peers.peers.get(number)
        now = Peer(labels, ports)
        if before != now:
            self._judge_again |= before is not None
            self.selections += number in self._of_identity
            self._count_ports(before.ports if before else frozenset(), ports)
            self.peers.put(number, now)

    def delete_identity(self, number: int) -> None:
        """Takes an identity out; nothing in the ipcache may lead to it any more."""
        before = self.peers.peers.get(number)
        if before is not None:
            self.selections += number in self._of_identity
            self._count_ports(before.ports, frozenset())
            self.peers.delete(number)

    def set_address(self, key: bytes, identity: int) -> None:
        """Has CIDR rules match an address of a known identity as well.

        Args:
            key: The 17-byte prefix key of one whole address.
            identity: What the ipcache says of it.
        """
        self.peers.addresses.put(key, identity)

    def delete_address(self, key: bytes) -> None:
        """Has CIDR rules match an address no more."""
        self.peers.addresses.delete(key)

    def set_endpoint(self, endpoint_id: int, endpoint: Endpoint) -> None:
        """Adds an endpoint, or changes it; it is closed until the commit is in the kernel."""
        if self.endpoints.get(endpoint_id) == endpoint:
            return
        self._leave(endpoint_id)
        self.endpoints[endpoint_id] = endpoint
        self._of_identity.setdefault(endpoint.identity, set()).add(endpoint_id)

    def delete_endpoint(self, endpoint_id: int) -> None:
        """Takes an endpoint out."""
        self._leave(endpoint_id)
        self.assigned.pop(endpoint_id, None)

    def set_cidr_groups(self, groups: Iterable[CidrGroup]) -> None:
        """Says which CiliumCIDRGroups there are."""
        named = groups_by_name(groups)
        if named != self.claims.world.groups:
            self._change_world(groups=named)

    def set_services(self, services: Iterable[PolicyService]) -> None:
        """Says which services there are, with their backends."""
        named = {(service.namespace, service.name): service for service in services}
        if named != self.claims.world.services:
            self._change_world(services=named)

    def judge_again(self) -> None:
        """Has every connection judged again, because an address changed its identity."""
        self._judge_again = True

    def commit(self) -> Delta:
        """What all changes since the last commit come to."""
        self.revision += 1
        classes = self.peers.classes
        former = self._select_subjects()
        self.peers.refine(self.claims.fresh())
        created, classes.created = classes.created, set()
        self._judge_again |= self.peers.addresses_move()
        rows = [self.numbers.add_classes(created, classes, self.revision)]
        assignments, written = self._assignments(former)
        steps: list[Step] = [WriteRows(np.concatenate([*rows, *written]))]
        steps += self._move_peers()
        steps.append(Assign(assignments))
        steps += self._clean_up()
        for key in self._pending:
            self.applied[key] = self.revision
        self._pending.clear()
        return Delta(self.revision, tuple(step for step in steps if has_work(step)))

    def state(self) -> Delta:
        """Everything that the kernel must hold now, as if from nothing."""
        steps: list[Step] = [
            WriteRows(self.numbers.rows(self.revision)),
            MoveMembers(self.peers.members()),
            WritePrefixes(self.peers.prefixes.all()),
            ClassifyAddresses(self.peers.addresses.all(), _NO_KEYS, whole=True),
            Assign(dict(self.assigned)),
        ]
        return Delta(self.revision, tuple(step for step in steps if has_work(step)))

    def take_over(self, held: Held) -> Delta:
        """The first commit, on a kernel that another engine has left its state in.

        Args:
            held: What it holds; this engine's hints lie beyond its policy numbers.
        """
        self.peers.prefixes.adopt(held.of_rules)
        self.commit()
        classes = self.peers.classes
        delta = take_over(held, self.state(), max(classes.next, held.greatest_class + 1))
        passing = Held(rows_of(delta), members_of(delta), prefixes_of(delta))
        classes.next = max(classes.next, passing.greatest_class + 1)
        addresses = ClassifyAddresses(self.peers.addresses.all(), _NO_KEYS, whole=True)
        steps = (*delta.steps, addresses)
        return Delta(delta.revision, tuple(step for step in steps if has_work(step)))

    def hints(self) -> Hints:
        """What to hand to the next engine of this node."""
        return Hints(
            secret=self.peers.secret,
            classes={f"{key:x}": number for key, number in self.peers.classes.keys().items()},
            next_class=self.peers.classes.next,
            next_policy=self.numbers.next,
            next_provenance=self.provenance.next,
            revision=self.revision,
        )

    def endpoints_of(self, key: PolicyKey) -> list[int]:
        """The endpoints that a policy selects, in order."""
        numbers = self.subjects.spec_numbers(key).values()
        users: set[int] = set().union(*(self.subjects.users.get(n, set()) for n in numbers))
        return sorted(e for identity in users for e in self._of_identity.get(identity, ()))

    def rulebook(self, endpoint: Endpoint, instead: Mapping[int, Spec]) -> Rulebook:
        """What selects an endpoint that is there, as of the last commit.

        Args:
            endpoint: One of `endpoints`.
            instead: Specs to put in the place of those with these numbers.
        """
        numbers = sorted(self.subjects.selected[endpoint.identity])
        specs = tuple(instead.get(n) or self.subjects.specs[n] for n in numbers)
        other = {n: self.claims.resolved(spec) for n, spec in instead.items()}
        ports = used_ports(
            (claim for n in numbers for claim in (other[n] if n in other else self.claims.of(n))),
            endpoint.ports,
        )
        grants = tuple(
            grant
            for n in numbers
            for grant in (
                grants_of(other[n], ports, self.peers)
                if n in other
                else self.claims.grants(n, ports, self.peers)
            )
        )
        closers = [
            closers_of(instead[n]) if n in instead else self.claims.closers(n) for n in numbers
        ]
        ingress = tuple(one for one, _ in closers if one is not None)
        egress = tuple(one for _, one in closers if one is not None)
        return Rulebook(specs, grants, (ingress, egress), self._enforcement_of(endpoint))

    def selectors(self) -> list[SelectorUse]:
        """The selectors in use, with what they select and whose they are."""
        return selector_uses(self.claims, self.subjects, self.peers)

    def rules(self, provenance: int) -> tuple[ProvenanceRule, ...]:
        """The rules behind a provenance number."""
        return self.provenance.rules(provenance)

    def _leave(self, endpoint_id: int) -> None:
        """Takes an endpoint out of what is known of its identity."""
        self.selections += 1
        before = self.endpoints.pop(endpoint_id, None)
        if before is not None:
            self._of_identity[before.identity].discard(endpoint_id)
            if not self._of_identity[before.identity]:
                del self._of_identity[before.identity]

    def _change_world(self, **parts: Mapping[Any, Any]) -> None:
        self.claims.set_world(msgspec.structs.replace(self.claims.world, **parts))

    def _count_ports(self, before: NamedPorts, now: NamedPorts) -> None:
        if before == now:
            return
        self._named_ports.update(now)
        self._named_ports.subtract(before)
        named: dict[str, set[tuple[int, int]]] = {}
        for (name, protocol, port), holders in self._named_ports.items():
            if holders > 0:
                named.setdefault(name, set()).add((protocol, port))
        if named != self.claims.world.named_ports:
            self._change_world(named_ports=named)

    def _select_subjects(self) -> dict[Subject, int]:
        """Finds who is selected by what; the numbers of those who need another now."""
        peers = self.peers.peers
        identities = {endpoint.identity for endpoint in self.endpoints.values()}
        self.subjects.set_identities({i: peers[i].labels for i in identities if i in peers})
        changed = self.claims.follow(self.subjects.specs, self.subjects.users.keys(), self.revision)
        touched, self.subjects.touched = self.subjects.touched, set()
        former = {s: n for s, n in self._chosen.items() if changed or s[0] in touched}
        here = self.subjects.selected
        self._chosen = {s: n for s, n in self._chosen.items() if s not in former and s[0] in here}
        return former

    def _assignments(
        self, former: Mapping[Subject, int]
    ) -> tuple[dict[int, Assignment], list[Rows]]:
        """Each endpoint that changes and its assignment; and the rows of new numbers."""
        rows: list[Rows] = []
        switched: dict[int, Assignment] = {}
        for endpoint_id, endpoint in self.endpoints.items():
            if endpoint.identity not in self.subjects.selected:
                continue
            subject = (endpoint.identity, endpoint.ports)
            policy = self.numbers.numbers.get(self._chosen.get(subject, CLOSED))
            if policy is None:
                policy, is_new = self._number_of(endpoint)
                self._chosen[subject] = policy.number
                if is_new:
                    like = self.numbers.numbers.get(former.get(subject, CLOSED))
                    policy.fill(self.peers.classes, like)
                    rows.append(policy.rows(self.revision))
            now = Assignment(policy.number, self.revision, *policy.enforced, audit=endpoint.audit)
            before = self.assigned.get(endpoint_id)
            same = before and msgspec.structs.replace(before, generation=self.revision) == now
            if not same or self._judge_again:
                switched[endpoint_id] = self.assigned[endpoint_id] = now
        self._judge_again = False
        return switched, rows

    def _number_of(self, endpoint: Endpoint) -> tuple[PolicyNumber, bool]:
        specs = sorted(self.subjects.selected[endpoint.identity])
        claims = (claim for number in specs for claim in self.claims.of(number))
        ports = used_ports(claims, endpoint.ports)
        versions = self.claims.versions(specs)
        key: ContentKey = (versions, ports, self._enforcement_of(endpoint))

        def make() -> Content:
            return content_of(self.rulebook(endpoint, {}), self.provenance)

        return self.numbers.find(key, make)

    def _enforcement_of(self, endpoint: Endpoint) -> Enforcement:
        is_init = INIT_LABEL in self.peers.peers[endpoint.identity].labels
        return Enforcement.ALWAYS if is_init else self._enforcement

    def _move_peers(self) -> list[Step]:
        written, removed = self.peers.prefixes.changes(self.peers.classes.class_of)
        moves: list[Step] = [MoveMembers(self.peers.moves())]
        moves += [WritePrefixes(written), RemovePrefixes(removed)]
        return [*moves, ClassifyAddresses(*self.peers.address_changes())]

    def _clean_up(self) -> list[Step]:
        """Steps after the switch: selectors, classes, rows and identities that are dead."""
        classes = self.peers.classes
        used = {assignment.policy for assignment in self.assigned.values()}
        dead = [self.numbers.retire(used, self.revision)]
        gone = self.peers.coarsen(self.claims.take_stale())
        created, classes.created = classes.created, set()
        late = self.numbers.add_classes(created, classes, self.revision)
        moved = self._move_peers()
        dropped, classes.dropped = classes.dropped, set()
        dead.append(self.numbers.drop_classes(dropped))
        if self.provenance.is_crowded:
            used = set(np.unique(self.numbers.rows(self.revision)["provenance"]).tolist())
            self.provenance.forget(used)
            self.templates.clear()
        return [
            WriteRows(late),
            *moved,
            DeleteRows(np.concatenate(dead)),
            ForgetMembers(np.array(gone, dtype=np.uint32)),
        ]
