"""What rules come to, as boxes: subjects x peers x ports of a cluster as it is now.

    labels ──▶ numbers of subjects and identities ┐
    prefixes of all rules ──▶ address spans ──────┼─▶ Box(subjects, peers, ports): bitmaps
    ports of all rules ──▶ port spans ────────────┘

Spans are cut wherever a rule begins or ends, so a rule holds a span whole or not at all.
"""

import bisect
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from pyroaring import BitMap

from cilia.model.cidrs import CidrSet
from cilia.model.identities import world_identity
from cilia.model.labels import LabelSet, Network
from cilia.model.ports import PORT_LAST, PROTOCOLS, NamedPort, NamedPorts, PortMatch, PortRange
from cilia.model.prefixes import V4_BITS, is_v4_key
from cilia.model.rules import Entry, Policy, Spec
from cilia.model.selectors import LabelSelector
from cilia.policy.resolution import Claim, PortHolder, Selector, World, claims_of
from cilia.policy.selectors import LabelIndex

FAMILIES = {4: 32, 6: 128}
OTHER_PROTOCOL = 0
"""Stands for every protocol that rules cannot name."""


class Party(msgspec.Struct, frozen=True):
    """Who takes part: an endpoint, or an identity."""

    labels: LabelSet
    ports: NamedPorts = frozenset()
    at: Network | None = None
    """One address of it, where CIDR rules match that as well."""


class Population(msgspec.Struct, frozen=True):
    """Everybody whom rules can be about."""

    subjects: Sequence[Party]
    peers: Sequence[Party]
    """Identities; the world's addresses come by themselves."""
    world: World = World()
    dual_stack: bool = True


class Box(msgspec.Struct, frozen=True):
    """All of these subjects with all of these peers on all of these ports."""

    subjects: BitMap
    peers: BitMap
    ports: BitMap

    def minus(self, other: "Box") -> "list[Box]":
        """What of this box is not in another, in at most three pieces."""
        s, p, t = self.subjects, self.peers, self.ports
        if not (
            s.intersect(other.subjects) and p.intersect(other.peers) and t.intersect(other.ports)
        ):
            return [self]
        common, shared = s & other.subjects, p & other.peers
        pieces = (
            Box(s - other.subjects, p, t),
            Box(common, p - other.peers, t),
            Box(common, shared, t - other.ports),
        )
        return [each for each in pieces if each.subjects and each.peers and each.ports]


Extent = tuple[Box, ...]


def meet(some: Extent, others: Extent) -> bool:
    """True if two extents have anything in common."""
    return any(
        a.subjects.intersect(b.subjects)
        and a.peers.intersect(b.peers)
        and a.ports.intersect(b.ports)
        for a in some
        for b in others
    )


def covered(some: Extent, by: Iterable[Box]) -> bool:
    """True if an extent lies within a union of boxes."""
    left = list(some)
    for box in by:
        if not left:
            break
        left = [piece for each in left for piece in each.minus(box)]
    return not left


class Extents:
    """The extents of the rules of some policies.

    Args:
        policies: All that are compared with each other.
        population: Whom they are about.
    """

    def __init__(self, policies: Iterable[Policy], population: Population) -> None:
        self._population = population
        self._claims: dict[tuple[Spec, str], list[Claim]] = {}
        selectors: dict[Selector, None] = {}
        matches: set[PortMatch] = set()
        for spec in (spec for policy in policies for spec in policy.specs):
            for claim in claims_of(spec, population.world):
                self._claims.setdefault((spec, claim.origin.path), []).append(claim)
                selectors.update(dict.fromkeys(claim.needs))
                matches.update(claim.ports or ())
        self._spans = _Spans([s for s in selectors if isinstance(s, CidrSet)])
        self._ports = _PortSpans(matches, population.subjects)
        self._subjects, self._identities = LabelIndex(), LabelIndex()
        for number, party in enumerate(population.subjects):
            self._subjects.add(number, party.labels)
        for number, party in enumerate(population.peers):
            self._identities.add(number, party.labels)
        self._first_span = len(population.peers)
        self._everyone = BitMap(range(self._first_span + self._spans.count))
        self._peers = {selector: self._peers_of(selector) for selector in selectors}

    def subjects(self, spec: Spec) -> BitMap:
        """The subjects that a spec selects."""
        return self._subjects.select(spec.subject)

    def peers(self, spec: Spec, entry: Entry) -> BitMap:
        """The peers that any part of an entry selects."""
        return BitMap().union(*(self._needed(c) for c in self._of(spec, entry)))

    def extent(self, spec: Spec, entry: Entry) -> Extent:
        """Everything that an entry speaks of."""
        subjects = self.subjects(spec)
        boxes: list[Box] = []
        for claim in self._of(spec, entry):
            peers = self._needed(claim)
            for some, ports in self._by_ports(claim, subjects):
                if some and peers and ports:
                    boxes.append(Box(some, peers, ports))
        return tuple(boxes)

    def _of(self, spec: Spec, entry: Entry) -> list[Claim]:
        return self._claims.get((spec, entry.path), [])

    def _needed(self, claim: Claim) -> BitMap:
        found = self._everyone
        for selector in claim.needs:
            found = found & self._peers[selector]
        return found

    def _by_ports(self, claim: Claim, subjects: BitMap) -> Iterable[tuple[BitMap, BitMap]]:
        """Subjects and the ports that the claim means for them."""
        if claim.ports is None:
            yield subjects, self._ports.all
            return
        plain = [port for port in claim.ports if isinstance(port, PortRange)]
        if plain:
            yield subjects, self._ports.of(plain)
        for named in (port for port in claim.ports if isinstance(port, NamedPort)):
            holders: dict[int, BitMap] = {}
            for subject in subjects:
                for name, protocol, port in self._population.subjects[subject].ports:
                    if (name, protocol) == (named.name, named.protocol):
                        holders.setdefault(port, BitMap()).add(subject)
            for port, some in holders.items():
                yield some, self._ports.of([PortRange(named.protocol, port, port)])

    def _peers_of(self, selector: Selector) -> BitMap:
        match selector:
            case LabelSelector():
                found = self._identities.select(selector)
                for version in FAMILIES:
                    world = world_identity(version, dual_stack=self._population.dual_stack)
                    if selector.matches((f"reserved:{world.label_name}",)):
                        found |= self._shifted(self._spans.whole(version))
                return found
            case PortHolder(name, protocol, port):
                wanted = (name, protocol, port)
                peers = enumerate(self._population.peers)
                return BitMap(number for number, peer in peers if wanted in peer.ports)
            case CidrSet():
                spans = self._spans.of(selector)
                placed = (
                    number
                    for number, peer in enumerate(self._population.peers)
                    if peer.at is not None and self._spans.at(peer.at) in spans
                )
                return self._shifted(spans) | BitMap(placed)

    def _shifted(self, spans: BitMap) -> BitMap:
        return spans.shift(self._first_span)


class _Spans:
    """The address space of both families, cut at every prefix of some sets."""

    def __init__(self, sets: Iterable[CidrSet]) -> None:
        cuts: dict[int, set[int]] = {v: {0, 1 << bits} for v, bits in FAMILIES.items()}
        for each in sets:
            for key in (*each.keys.tolist(), *each.excluded.tolist()):
                version, first, last = _bounds(key)
                cuts[version].update((first, last))
        self._cuts = {version: sorted(found) for version, found in cuts.items()}
        self._offset = {4: 0, 6: len(self._cuts[4]) - 1}
        self.count = self._offset[6] + len(self._cuts[6]) - 1

    def whole(self, version: int) -> BitMap:
        """The numbers of all spans of a family."""
        return self._range(version, 0, 1 << FAMILIES[version])

    def at(self, address: Network) -> int:
        """The number of the span that one whole address lies in."""
        cuts, offset = self._cuts[address.version], self._offset[address.version]
        return offset + bisect.bisect_right(cuts, int(address.network_address)) - 1

    def of(self, found: CidrSet) -> BitMap:
        """The numbers of the spans in a set."""
        holes: dict[int, BitMap] = {}
        for key, owner in zip(found.excluded.tolist(), found.owner.tolist(), strict=True):
            holes.setdefault(owner, BitMap()).update(self._range(*_bounds(key)))
        result = BitMap()
        for index, key in enumerate(found.keys.tolist()):
            spans = self._range(*_bounds(key))
            result |= spans - holes[index] if index in holes else spans
        return result

    def _range(self, version: int, first: int, last: int) -> BitMap:
        cuts, offset = self._cuts[version], self._offset[version]
        low, high = bisect.bisect_left(cuts, first), bisect.bisect_left(cuts, last)
        return BitMap(range(offset + low, offset + high))


def _bounds(key: bytes) -> tuple[int, int, int]:
    """Family, first address and the one after the last of a prefix key."""
    key = key.ljust(17, b"\0")
    if is_v4_key(key):
        first = int.from_bytes(key[12:16])
        return 4, first, first + (1 << (32 - (key[16] - V4_BITS)))
    first = int.from_bytes(key[:16])
    return 6, first, first + (1 << (128 - key[16]))


class _PortSpans:
    """Protocols x ports, cut where rules and named ports begin and end."""

    def __init__(self, matches: Iterable[PortMatch], subjects: Iterable[Party]) -> None:
        whole = {0, PORT_LAST + 1}
        cuts: dict[int, set[int]] = {p: set(whole) for p in (*PROTOCOLS.values(), OTHER_PROTOCOL)}
        for match in matches:
            if isinstance(match, PortRange):
                cuts[match.protocol].update((match.first, match.last + 1))
        for _, protocol, port in (port for subject in subjects for port in subject.ports):
            cuts[protocol].update((port, port + 1))
        self._cuts: Mapping[int, list[int]] = {p: sorted(found) for p, found in cuts.items()}
        self._offset: dict[int, int] = {}
        count = 0
        for protocol, found in self._cuts.items():
            self._offset[protocol] = count
            count += len(found) - 1
        self.all = BitMap(range(count))

    def of(self, ranges: Iterable[PortRange]) -> BitMap:
        """The numbers of the spans in some ranges."""
        result = BitMap()
        for each in ranges:
            cuts, offset = self._cuts[each.protocol], self._offset[each.protocol]
            low = bisect.bisect_left(cuts, each.first)
            high = bisect.bisect_left(cuts, each.last + 1)
            result |= BitMap(range(offset + low, offset + high))
        return result
