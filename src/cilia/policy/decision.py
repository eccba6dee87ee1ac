"""What the engine's rows decide, read as the datapath reads them: no kernel needed.

Source: bpf/lib/policy.h `policy_find`, bpf/lib/judge.h `judge_peer`.
"""

import ipaddress
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from cilia.model.identities import ReservedIdentity
from cilia.model.labels import Network
from cilia.model.prefixes import prefix_of_key
from cilia.model.rules import Direction
from cilia.policy.delta import (
    ALLOW,
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
)
from cilia.policy.engine import PolicyEngine
from cilia.policy.numbers import ANY_CLASS
from cilia.policy.prefix_table import Worlds
from cilia.policy.provenance import NO_PROVENANCE, ProvenanceRule
from cilia.policy.verdicts import BASE_BITS, DEFAULT_DENY, DENY, FULL_BITS, PROTOCOL_BITS

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Peer = int | Network
"""An identity, or a prefix that nobody manages: an address is a prefix of full length."""


class Verdict(StrEnum):
    """What one side's policy says of a connection."""

    ALLOW = "allow"
    DENY = "deny"
    """A deny rule speaks of it."""
    DEFAULT_DENY = "default-deny"
    """The direction is closed and no rule allows it."""
    NOT_ENFORCED = "not-enforced"
    """Nothing closes the direction, so everything passes."""
    NODE = "node"
    """A node reaches its own pods whatever policy says."""
    UNKNOWN = "unknown"
    """Who the peer is, or what the policy is, is not known yet: closed."""

    @property
    def passes(self) -> bool:
        """True if the connection may be."""
        return self in (Verdict.ALLOW, Verdict.NOT_ENFORCED, Verdict.NODE)


_VERDICTS = {ALLOW: Verdict.ALLOW, DENY: Verdict.DENY, DEFAULT_DENY: Verdict.DEFAULT_DENY}


class Decision(msgspec.Struct, frozen=True):
    """A verdict and the rules behind it."""

    verdict: Verdict
    rules: tuple[ProvenanceRule, ...] = ()


class Ports(msgspec.Struct, frozen=True):
    """The port that a connection is to."""

    protocol: int
    port: int
    """ICMP: the type."""


_RowKey = tuple[int, int, int, int, int, int]
_RowValue = tuple[int, int, int, int]
"""precedence, prefixlen, verdict, provenance"""


class RowTable:
    """The kernel's maps of policy as they are once deltas have been applied."""

    def __init__(self, worlds: Worlds | None = None) -> None:
        self._worlds = worlds or Worlds()
        self._addresses: dict[Network, tuple[int, int]] = {}
        self._rows: dict[_RowKey, _RowValue] = {}
        self._classes: dict[int, int] = {}
        self._prefixes: dict[Network, int] = {}
        self._lengths: dict[int, int] = {}
        self._assigned: dict[int, Assignment] = {}

    def apply(self, delta: Delta) -> None:
        """Does the steps of a delta."""
        for step in delta.steps:
            self._do(step)

    def find(
        self,
        endpoint: int,
        direction: Direction,
        peer: Peer,
        ports: Ports,
        at: Network | None = None,
    ) -> tuple[Verdict, int]:
        """The verdict of one endpoint's policy, and its provenance.

        Args:
            endpoint: The endpoint whose policy it is.
            direction: Seen from it.
            peer: The other side.
            ports: Of the connection, at its destination.
            at: Where the peer is, should its address have a class of its own.
        """
        assigned = self._assigned.get(endpoint)
        if assigned is None:
            return Verdict.UNKNOWN, NO_PROVENANCE
        enforced = (assigned.ingress_enforced, assigned.egress_enforced)[direction]
        if not enforced:
            return Verdict.NOT_ENFORCED, NO_PROVENANCE
        number = self.class_of(peer, at)
        if not number:
            return Verdict.UNKNOWN, NO_PROVENANCE
        own = self._longest(assigned.policy, number, direction, ports)
        any_ = self._longest(assigned.policy, ANY_CLASS, direction, ports)
        # The higher precedence decides, then the longer prefix, then the row with a class.
        chosen = any_ if own is None or (any_ is not None and any_[:2] > own[:2]) else own
        if chosen is None:
            return Verdict.UNKNOWN, NO_PROVENANCE
        return _VERDICTS[chosen[2]], chosen[3]

    def class_of(self, peer: Peer, at: Network | None = None) -> int:
        """The class of a peer, or that of its address; 0 when it is not known."""
        if isinstance(peer, int):
            identity, own = self._addresses.get(at, (0, 0)) if at is not None else (0, 0)
            if own and identity == peer:
                return own
            return self._classes.get(peer, 0)
        for length in sorted(self._lengths, reverse=True):
            if length <= peer.prefixlen:
                found = self._prefixes.get(peer.supernet(new_prefix=length))
                if found:
                    return found
        return self._classes.get(int(self._worlds.identity(v4=peer.version == 4)), 0)

    def _longest(
        self, policy: int, number: int, direction: Direction, ports: Ports
    ) -> _RowValue | None:
        for bits in range(FULL_BITS, BASE_BITS - 1, -1):
            if PROTOCOL_BITS > bits > BASE_BITS:
                continue
            protocol = ports.protocol if bits >= PROTOCOL_BITS else 0
            port = ports.port & (0xFFFF << (FULL_BITS - bits)) if bits > PROTOCOL_BITS else 0
            found = self._rows.get((policy, number, int(direction), protocol, port & 0xFFFF, bits))
            if found is not None:
                return found
        return None

    def _do(self, step: Step) -> None:
        match step:
            case WriteRows(rows):
                for key, value in _split(rows):
                    self._rows[key] = value
            case DeleteRows(rows):
                for key, _ in _split(rows):
                    self._rows.pop(key, None)
            case MoveMembers(members):
                self._classes.update(members.tolist())
            case ForgetMembers(identities):
                for identity in identities.tolist():
                    self._classes.pop(identity, None)
            case WritePrefixes(prefixes):
                for key, _, number in prefixes.tolist():
                    self._set_prefix(prefix_of_key(key), number)
            case RemovePrefixes(keys):
                for key in keys.tolist():
                    self._set_prefix(prefix_of_key(key), 0)
            case ClassifyAddresses(rows, gone, whole):
                if whole:
                    self._addresses.clear()
                for key, identity, number in rows.tolist():
                    self._addresses[prefix_of_key(key)] = (identity, number)
                for key in gone.tolist():
                    self._addresses.pop(prefix_of_key(key), None)
            case Assign(assignments):
                self._assigned.update(assignments)

    def _set_prefix(self, prefix: Network, number: int) -> None:
        before = self._prefixes.pop(prefix, 0)
        if number:
            self._prefixes[prefix] = number
        change = bool(number) - bool(before)
        self._lengths[prefix.prefixlen] = self._lengths.get(prefix.prefixlen, 0) + change
        if not self._lengths[prefix.prefixlen]:
            del self._lengths[prefix.prefixlen]


def _split(rows: Rows) -> Iterable[tuple[_RowKey, _RowValue]]:
    for row in rows.tolist():
        policy, number, direction, protocol, port, bits, verdict, precedence, rules, _ = row
        key = (policy, number, direction, protocol, port, bits)
        yield key, (precedence, bits, verdict, rules)


class Decider:
    """An engine and its rows: commits, and decides as the datapath would.

    Args:
        engine: Whatever policy knows.
        allow_node: Whether a node reaches its own pods whatever policy says.
        worlds: The families that pods have, as the engine was told.

    Attributes:
        table: The rows as of the last commit.
    """

    def __init__(
        self, engine: PolicyEngine, *, allow_node: bool = True, worlds: Worlds | None = None
    ) -> None:
        self.engine = engine
        self._allow_node = allow_node
        self.table = RowTable(worlds)

    def commit(self) -> None:
        """Takes over all changes of the engine."""
        self.table.apply(self.engine.commit())

    def decide(
        self,
        endpoint: int,
        direction: Direction,
        peer: Peer,
        ports: Ports,
        at: Network | None = None,
    ) -> Decision:
        """What an endpoint's policy says of a connection with a peer.

        Args:
            endpoint: The endpoint's id in the engine.
            direction: Seen from it.
            peer: The other side.
            ports: Of the connection, at its destination.
            at: Where the peer is, should its address have a class of its own.
        """
        is_node = direction is Direction.INGRESS and peer == ReservedIdentity.HOST
        if is_node and self._allow_node:
            return Decision(Verdict.NODE)
        verdict, provenance = self.table.find(endpoint, direction, peer, ports, at)
        return Decision(verdict, self.engine.rules(provenance))
