"""The claims of specs that select anyone here, and the selectors that they bring into use."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from cilia.model.ports import NamedPort, NamedPorts
from cilia.model.rules import Direction, Spec
from cilia.policy.contents import closer
from cilia.policy.peers import PeerTable
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.resolution import Claim, Selector, World, claims_of, uses_world
from cilia.policy.verdicts import ALLOW_PRECEDENCE, DENY_PRECEDENCE, Grant, row_keys

Closer = ProvenanceRule | None


class ClaimTable:
    """Spec number -> claims, with references looked up in the world as it is.

    Attributes:
        world: What references are looked up in; `set_world` changes it.
        users: For each selector in use how many claims need it.
    """

    def __init__(self) -> None:
        self.world = World()
        self.users: Counter[Selector] = Counter()
        self._claims: dict[int, tuple[Claim, ...]] = {}
        self._version: dict[int, int] = {}
        self._grants: dict[int, tuple[Grant, ...]] = {}
        self._closers: dict[int, tuple[Closer, Closer]] = {}
        self._touched: dict[Selector, None] = {}
        self._is_world_new = False

    def set_world(self, world: World) -> None:
        """Changes the world; claims follow with the next `follow`."""
        self.world = world
        self._is_world_new = True

    def resolved(self, spec: Spec) -> tuple[Claim, ...]:
        """What any spec claims, with its references looked up in the world."""
        return claims_of(spec, self.world)

    def of(self, number: int) -> tuple[Claim, ...]:
        """The claims of a spec."""
        return self._claims[number]

    def numbers(self) -> Iterable[int]:
        """The specs that have claims."""
        return self._claims.keys()

    def versions(self, numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
        """Numbers of specs, each with a number that changes when its claims do."""
        version = self._version
        return tuple([(number, version[number]) for number in numbers])

    def follow(self, specs: Mapping[int, Spec], active: Set[int], revision: int) -> bool:
        """Resolves the specs that are active; True if claims changed that were there before.

        Args:
            specs: All specs, by number.
            active: The numbers of those that select anyone.
            revision: Of this change.
        """
        for number in self._claims.keys() - active:
            self._use(self._claims.pop(number), -1)
            self._grants.pop(number, None)
            del self._version[number], self._closers[number]
        for number in active - self._claims.keys():
            self._claims[number] = self.resolved(specs[number])
            self._version[number] = 0
            self._closers[number] = closers_of(specs[number])
            self._use(self._claims[number], 1)
        is_new, self._is_world_new = self._is_world_new, False
        return is_new and self._resolve_again(specs, revision)

    def grants(self, number: int, own: NamedPorts, peers: PeerTable) -> Iterable[Grant]:
        """What a spec's claims come to, for an endpoint with these ports that they ask for."""
        claims = self._claims[number]
        if own and any(isinstance(port, NamedPort) for c in claims for port in c.ports or ()):
            return grants_of(claims, own, peers)
        made = self._grants.get(number)
        if made is None:
            made = self._grants[number] = grants_of(claims, frozenset(), peers)
        return made

    def closers(self, number: int) -> tuple[Closer, Closer]:
        """For each Direction, how a default deny names a spec that closes it."""
        return self._closers[number]

    def fresh(self) -> list[Selector]:
        """Selectors in use that may not have been before."""
        return [selector for selector in self._touched if self.users[selector] > 0]

    def take_stale(self) -> list[Selector]:
        """Selectors that nobody needs any more, once; what is fresh is so no more."""
        stale = [selector for selector in self._touched if self.users[selector] <= 0]
        for selector in stale:
            del self.users[selector]
        self._touched.clear()
        return stale

    def _resolve_again(self, specs: Mapping[int, Spec], revision: int) -> bool:
        changed = False
        for number, before in list(self._claims.items()):
            if uses_world(specs[number]):
                now = self.resolved(specs[number])
                if now != before:
                    changed = True
                    self._claims[number] = now
                    self._version[number] = revision
                    self._grants.pop(number, None)
                    self._use(now, 1)
                    self._use(before, -1)
        return changed

    def _use(self, claims: Iterable[Claim], change: int) -> None:
        for claim in claims:
            for selector in claim.needs:
                self.users[selector] += change
                self._touched[selector] = None


def closers_of(spec: Spec) -> tuple[Closer, Closer]:
    """For each Direction, how a default deny names a spec, if that closes it."""
    ingress, egress = (closer(spec, d) if spec.closes[d] else None for d in Direction)
    return ingress, egress


def grants_of(claims: Iterable[Claim], own: NamedPorts, peers: PeerTable) -> tuple[Grant, ...]:
    """What claims come to, for an endpoint with these named ports."""
    return tuple(
        Grant(
            tuple(peers.number(selector) for selector in claim.needs),
            row_keys(claim.direction, claim.ports, own),
            DENY_PRECEDENCE if claim.deny else ALLOW_PRECEDENCE,
            frozenset((claim.origin,)),
            claim.direction,
        )
        for claim in claims
    )
