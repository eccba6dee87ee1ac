"""Entries resolved: references to groups, services and named ports become selectors."""

from collections.abc import Callable, Iterable, Mapping, Set

import msgspec

from cilia.model.cidrs import CidrSet, cidr_set, plain_cidr_set
from cilia.model.labels import NAMESPACE, LabelSet
from cilia.model.ports import NamedPort, PortMatch, PortRange
from cilia.model.rules import (
    CidrGroupReference,
    Direction,
    Entry,
    Peers,
    PolicyKey,
    ServiceReference,
    Spec,
)
from cilia.model.selectors import LabelSelector, match_labels
from cilia.policy.provenance import ProvenanceRule


class PortHolder(msgspec.Struct, frozen=True):
    """Selects the identities of which a pod gives this name to this port."""

    name: str
    protocol: int
    port: int


Selector = LabelSelector | CidrSet | PortHolder


class CidrGroup(msgspec.Struct, frozen=True):
    """A CiliumCIDRGroup."""

    name: str
    labels: LabelSet
    prefixes: tuple[str, ...]


class PolicyService(msgspec.Struct, frozen=True):
    """What rules need to know of a Kubernetes service."""

    namespace: str
    name: str
    labels: LabelSet
    selector: Mapping[str, str]
    """Of pods; empty: its backends are the addresses below."""
    backends: tuple[str, ...]
    """Addresses of its endpoints, bare."""


class World(msgspec.Struct, frozen=True):
    """What references in rules are looked up in."""

    groups: Mapping[str, tuple[CidrGroup, ...]] = {}
    """By name: one applied, one of a file, or both."""
    services: Mapping[tuple[str, str], PolicyService] = {}
    """By namespace and name."""
    named_ports: Mapping[str, Set[tuple[int, int]]] = {}
    """Name -> (protocol, port) of every pod anywhere that has one of that name."""


def groups_by_name(groups: Iterable[CidrGroup]) -> dict[str, tuple[CidrGroup, ...]]:
    """Groups as `World` has them."""
    named: dict[str, tuple[CidrGroup, ...]] = {}
    for group in groups:
        named[group.name] = (*named.get(group.name, ()), group)
    return named


class Claim(msgspec.Struct, frozen=True):
    """What one entry says of the peers that all its selectors select."""

    direction: Direction
    needs: tuple[Selector, ...]
    """All must select the peer; none: anyone."""
    ports: tuple[PortMatch, ...] | None
    """None: everything. A named port here is one of the subject itself."""
    deny: bool
    origin: ProvenanceRule


def claims_of(spec: Spec, world: World) -> tuple[Claim, ...]:
    """Everything a spec says, with its references looked up."""
    return tuple(claim for entry in spec.entries for claim in _entry_claims(spec, entry, world))


def uses_world(spec: Spec) -> bool:
    """True if what the spec says may change with the world."""
    return any(
        (entry.peers is not None and (entry.peers.groups or entry.peers.services))
        or (entry.direction is Direction.EGRESS and _named(entry.ports))
        for entry in spec.entries
    )


def provenance_rule(policy: PolicyKey, entry: Entry, log: str) -> ProvenanceRule:
    """How a verdict names this entry."""
    verdict = "deny" if entry.deny else "allow"
    return ProvenanceRule(policy, entry.path, entry.index, entry.direction, verdict, log)


def _entry_claims(spec: Spec, entry: Entry, world: World) -> Iterable[Claim]:
    origin = provenance_rule(spec.policy, entry, spec.log)
    peers: list[tuple[Selector, ...]] = (
        [()] if entry.peers is None else [(s,) for s in _peer_selectors(entry.peers, world)]
    )

    def claim(needs: tuple[Selector, ...], ports: tuple[PortMatch, ...] | None) -> Claim:
        return Claim(entry.direction, needs, ports, entry.deny, origin)

    if entry.direction is Direction.INGRESS or not _named(entry.ports):
        return [claim(needs, entry.ports) for needs in peers]
    return _with_holders(claim, peers, entry.ports or (), world)


def _with_holders(
    claim: Callable[[tuple[Selector, ...], tuple[PortMatch, ...]], Claim],
    peers: list[tuple[Selector, ...]],
    ports: tuple[PortMatch, ...],
    world: World,
) -> Iterable[Claim]:
    """Claims of an egress entry with named ports: each peer's own port of that name."""
    plain = tuple(port for port in ports if isinstance(port, PortRange))
    named = [port for port in ports if isinstance(port, NamedPort)]
    holders = [
        PortHolder(port.name, protocol, number)
        for port in named
        for protocol, number in sorted(world.named_ports.get(port.name, ()))
        if protocol == port.protocol
    ]
    for needs in peers:
        if plain:
            yield claim(needs, plain)
        for holder in holders:
            port = PortRange(holder.protocol, holder.port, holder.port)
            yield claim((*needs, holder), (port,))


def _named(ports: tuple[PortMatch, ...] | None) -> bool:
    return any(isinstance(port, NamedPort) for port in ports or ())


def _peer_selectors(peers: Peers, world: World) -> Iterable[Selector]:
    yield from peers.selectors
    if peers.cidrs is not None:
        yield peers.cidrs
    for group in peers.groups:
        yield _group_prefixes(group, world)
    for service in peers.services:
        yield from _service_selectors(service, world)


def _group_prefixes(reference: CidrGroupReference, world: World) -> CidrSet:
    if reference.selector is None:
        found = list(world.groups.get(reference.name, ()))
    else:
        groups = (group for named in world.groups.values() for group in named)
        found = [group for group in groups if reference.selector.matches(group.labels)]
    prefixes = [prefix for group in found for prefix in group.prefixes]
    if not reference.excluded:
        return plain_cidr_set(prefixes)
    return cidr_set((prefix, reference.excluded) for prefix in prefixes)


def _service_selectors(reference: ServiceReference, world: World) -> Iterable[Selector]:
    for service in world.services.values():
        if reference.namespace and reference.namespace != service.namespace:
            continue
        if reference.selector is None:
            if reference.name != service.name:
                continue
        elif not reference.selector.matches(service.labels):
            continue
        if service.selector:
            in_namespace = {**service.selector, NAMESPACE: service.namespace}
            yield match_labels(in_namespace, default_source="k8s")
        else:
            yield plain_cidr_set(service.backends)
