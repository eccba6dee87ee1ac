"""Peers: every identity and rule prefix there is, and the class that each is in.

    identities ──labels──▶ slots ──selectors in use──▶ classes
    prefixes ──coverage──▶ groups ─┘

Changes are gathered, `refine` splits classes for the selectors that come, and
`coarsen` merges them for those that go; between the two the endpoints switch.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from cilia.model.cidrs import CidrSet
from cilia.model.labels import LabelSet, cidr_of_label
from cilia.model.ports import NamedPorts
from cilia.model.prefixes import PrefixKeys, prefix_key
from cilia.model.selectors import LabelSelector
from cilia.policy.addresses import AddressTable
from cilia.policy.cidr_table import CidrTable
from cilia.policy.classes import ClassTable
from cilia.policy.delta import MEMBER, Rows
from cilia.policy.prefix_table import PrefixTable, Worlds
from cilia.policy.resolution import PortHolder, Selector
from cilia.policy.selectors import LabelIndex, SelectorIndex


class Peer(msgspec.Struct, frozen=True):
    """An identity, as policy sees it."""

    labels: LabelSet
    ports: NamedPorts = frozenset()
    """Named ports of the pods that have this identity."""


class PeerTable:
    """Identities, the selectors in use, and the classes these make of those."""

    def __init__(
        self,
        hints: Mapping[int, int] | None = None,
        next_class: int = 1,
        secret: bytes = b"",
        worlds: Worlds | None = None,
    ) -> None:
        self.secret = secret or secrets.token_bytes(16)
        self.classes = ClassTable(hints, next_class)
        self.peers: dict[int, Peer] = {}
        self.worlds = worlds or Worlds()
        self.prefixes = PrefixTable(self.worlds)
        self.addresses = AddressTable()
        self._labels = LabelIndex()
        self._index = SelectorIndex()
        self._numbers: dict[Selector, int] = {}
        self._cidrs = CidrTable()
        self._holders: dict[tuple[str, int, int], int] = {}
        self._slot: dict[int, int] = {}
        self._identity = np.zeros(1024, dtype=np.uint32)
        self._written = np.zeros(1024, dtype=np.uint32)
        self._free: list[int] = []
        self._ports: dict[int, NamedPorts] = {}
        self._port_slots: dict[tuple[str, int, int], BitMap] = {}
        self._next_slot = 0
        self._next_selector = 1
        self._changed: dict[int, Peer | None] = {}
        self._addressed: dict[int, bytes] = {}
        self._cidrs_changed = True

    def put(self, identity: int, peer: Peer) -> None:
        """Adds an identity, or changes what it carries."""
        if self.peers.get(identity) != peer:
            self.peers[identity] = peer
            self._changed[identity] = peer

    def delete(self, identity: int) -> None:
        """Takes an identity out, once nothing has it any more."""
        if self.peers.pop(identity, None) is not None:
            self._changed[identity] = None

    def number(self, selector: Selector) -> int:
        """The number of a selector in use."""
        return self._numbers[selector]

    def has(self, selector: Selector) -> bool:
        """True if a selector is in use."""
        return selector in self._numbers

    def class_of(self, identity: int) -> int:
        """The class of an identity; 0 when it is not known."""
        slot = self._slot.get(identity)
        return 0 if slot is None else int(self.classes.class_of[slot])

    def refine(self, selectors: Iterable[Selector]) -> None:
        """Takes selectors into use, and places the identities that came or changed."""
        fresh = [selector for selector in selectors if selector not in self._numbers]
        cidrs = [selector for selector in fresh if isinstance(selector, CidrSet)]
        for selector in fresh:
            if not isinstance(selector, CidrSet):
                number = self._take(selector)
                slots = self._slots_of(selector)
                self.classes.add_selector(number, self._secret_of(selector), slots)
        self._place_changed()
        if cidrs or self._cidrs_changed:
            self._cover(cidrs)

    def coarsen(self, selectors: Iterable[Selector]) -> list[int]:
        """Puts selectors out of use and takes out identities.

        Returns:
            The identities that are gone.
        """
        numbers = []
        for selector in selectors:
            number = self._numbers.pop(selector)
            numbers.append(number)
            if isinstance(selector, LabelSelector):
                self._index.remove(number, selector)
            elif isinstance(selector, PortHolder):
                del self._holders[selector.name, selector.protocol, selector.port]
        cidrs = [number for number in numbers if number in self._cidrs]
        if cidrs:
            self._cidrs.remove(cidrs)
            self._cidrs_changed = True
        self.classes.remove_selectors(numbers)
        gone = [identity for identity, peer in self._changed.items() if peer is None]
        for identity in gone:
            del self._changed[identity]
        gone = [identity for identity in gone if identity in self._slot]
        for identity in gone:
            self._take_out(self._slot.pop(identity))
        for slot in self.addresses.take_gone():
            self._take_out(slot)
        if self._cidrs_changed:
            self._cover([])
        return gone

    def moves(self) -> Rows:
        """Identities whose class has changed since the last call: dtype MEMBER."""
        count = self._next_slot
        now = self.classes.class_of[:count]
        moved = np.flatnonzero((now != self._written[:count]) & (self._identity[:count] != 0))
        result = np.zeros(len(moved), dtype=MEMBER)
        result["identity"] = self._identity[moved]
        result["class"] = now[moved]
        self._written[moved] = now[moved]
        return result

    def address_changes(self) -> tuple[Rows, PrefixKeys]:
        """Addresses whose own class has changed since the last call, and those without one."""
        return self.addresses.changes(self.classes.class_of, self._slot)

    def addresses_move(self) -> bool:
        """True if `address_changes` has something to tell."""
        return self.addresses.move(self.classes.class_of, self._slot)

    def members(self) -> Rows:
        """Every identity and its class: dtype MEMBER."""
        known = np.flatnonzero(self._identity[: self._next_slot] != 0)
        result = np.zeros(len(known), dtype=MEMBER)
        result["identity"] = self._identity[known]
        result["class"] = self.classes.class_of[known]
        return result

    def selectors(self) -> dict[Selector, int]:
        """The selectors in use, by value, and their numbers."""
        return dict(self._numbers)

    def selected(self, selector: Selector) -> list[int]:
        """The identities that a selector in use selects, in order; prefixes by their own."""
        if not isinstance(selector, CidrSet):
            slots = self._slots_of(selector)
            return sorted({int(self._identity[slot]) for slot in slots} - {0})
        return self.prefixes.identities(self._numbers[selector])

    def _take(self, selector: Selector) -> int:
        number, self._next_selector = self._next_selector, self._next_selector + 1
        self._numbers[selector] = number
        if isinstance(selector, LabelSelector):
            self._index.add(number, selector)
        elif isinstance(selector, PortHolder):
            self._holders[selector.name, selector.protocol, selector.port] = number
        return number

    def _secret_of(self, selector: Selector) -> int:
        text = selector.digest if isinstance(selector, CidrSet) else repr(selector)
        digest = hashlib.blake2b(text.encode(), key=self.secret, digest_size=16)
        return int.from_bytes(digest.digest())

    def _slots_of(self, selector: LabelSelector | PortHolder) -> BitMap:
        if isinstance(selector, LabelSelector):
            return self._labels.select(selector)
        port = (selector.name, selector.protocol, selector.port)
        return BitMap(self._port_slots.get(port) or ())

    def _note_ports(self, slot: int, ports: NamedPorts) -> None:
        """Notes which named ports the pods of a slot's identity have."""
        for port in self._ports.pop(slot, frozenset()):
            self._port_slots[port].discard(slot)
        for port in ports:
            self._port_slots.setdefault(port, BitMap()).add(slot)
        if ports:
            self._ports[slot] = ports

    def _place_changed(self) -> None:
        """Places what came or changed; what goes stays until `coarsen`."""
        placed = [(i, peer) for i, peer in self._changed.items() if peer is not None]
        addressed = self.addresses.take_changed(self.peers.keys(), [i for i, _ in placed])
        if not placed and not addressed:
            return
        self._changed = {i: peer for i, peer in self._changed.items() if peer is None}
        carried: list[tuple[int, Peer]] = []
        for identity, peer in placed:
            if identity not in self._slot:
                self._slot[identity] = self._new_slot(identity)
            carried.append((self._slot[identity], peer))
            self._carry(self._slot[identity], peer, self._prefixes_of(identity, peer.labels))
        for key, identity in addressed:
            slots = self.addresses.slots
            if key not in slots:
                slots[key] = self._new_slot(0)
            carried.append((slots[key], self.peers[identity]))
            self._carry(slots[key], self.peers[identity], (key,))
        if len(carried) > 64:
            self._place_many([slot for slot, _ in carried])
            return
        for slot, peer in carried:
            selected = set(self._index.matching(peer.labels))
            selected.update(self._held(peer.ports))
            selected.update(self.prefixes.covering(slot))
            self.classes.place(slot, selected)

    def _place_many(self, slots: list[int]) -> None:
        """Places many slots at once: one pass a selector, then one a class."""
        chosen = BitMap(slots)
        order = np.asarray(chosen.to_array(), dtype=np.int64)
        marks = np.zeros((len(order), 2), dtype=np.uint64)
        carried: list[tuple[int, NDArray[np.int64]]] = []
        salts = np.random.default_rng().integers(
            1, 2**63, size=(len(self._numbers) + 1, 2), dtype=np.uint64
        )
        for salt, (selector, number) in zip(salts, self._numbers.items(), strict=False):
            if isinstance(selector, CidrSet):
                found = BitMap(
                    s
                    for s in self.prefixes.located() & chosen
                    if number in self.prefixes.covering(s)
                )
            else:
                found = self._slots_of(selector) & chosen
            if found:
                at = np.searchsorted(order, np.asarray(found.to_array(), dtype=np.int64))
                marks[at] ^= salt
                carried.append((number, at))
        _, first, group = np.unique(
            marks.view("V16").reshape(-1), return_index=True, return_inverse=True
        )
        selected: list[set[int]] = [set() for _ in first]
        is_first = np.zeros(len(order), dtype=np.bool_)
        is_first[first] = True
        for number, at in carried:
            for which in group[at[is_first[at]]].tolist():
                selected[which].add(number)
        by_group = np.argsort(group, kind="stable")
        cuts = np.searchsorted(group[by_group], np.arange(1, len(first)))
        for part, numbers in zip(np.split(order[by_group], cuts), selected, strict=True):
            self.classes.place_many(part, numbers)

    def _held(self, ports: NamedPorts) -> Iterable[int]:
        return (self._holders[port] for port in ports if port in self._holders)

    def _new_slot(self, identity: int) -> int:
        slot = self._free.pop() if self._free else self._next_slot
        self._next_slot = max(self._next_slot, slot + 1)
        self.classes.reserve(slot + 1)
        if slot >= len(self._identity):
            self._identity = np.concatenate([self._identity, np.zeros_like(self._identity)])
            self._written = np.concatenate([self._written, np.zeros_like(self._written)])
        self._identity[slot] = identity
        self._written[slot] = 0
        return slot

    def _carry(self, slot: int, peer: Peer, prefixes: tuple[bytes, ...]) -> None:
        """Notes what is at a slot, and where it lies, so that CIDR rules can select it."""
        if slot in self._labels.slots:
            self._labels.remove(slot)
        self._labels.add(slot, peer.labels)
        self._note_ports(slot, peer.ports)
        if self.prefixes.locate(slot, prefixes):
            self._cidrs_changed = True

    def _prefixes_of(self, identity: int, labels: LabelSet) -> tuple[bytes, ...]:
        """The prefixes that an identity stands for."""
        return self.worlds.prefixes(identity) + tuple(
            prefix_key(p)
            for label in labels
            if label.startswith("cidr:") and (p := cidr_of_label(label))
        )

    def _take_out(self, slot: int) -> None:
        self._labels.remove(slot)
        self._note_ports(slot, frozenset())
        self.classes.remove(slot)
        self._identity[slot] = 0
        if self.prefixes.locate(slot, ()):
            self._cidrs_changed = True
        self._free.append(slot)

    def _cover(self, fresh: list[CidrSet]) -> None:
        """Computes which CIDR sets cover what, and places the groups that this makes."""
        self._cidrs_changed = False
        numbers = {self._take(cidrs): cidrs for cidrs in fresh}
        self._cidrs.add(numbers)
        new, moved = self.prefixes.cover(self._cidrs, self._new_group)
        covered = {number: BitMap() for number in numbers}
        for slot, before in moved.items():
            now = self.prefixes.covering(slot)
            for number in now:
                if number in covered:
                    covered[number].add(slot)
            # What only gains sets that are new here, those tell apart below.
            if {n for n in now if n not in covered} != {n for n in before if n in self._cidrs}:
                self.classes.place(slot, {n for n in self._cover_of(slot) if n not in covered})
        for number, cidrs in numbers.items():
            self.classes.add_selector(number, self._secret_of(cidrs), covered[number])
        # New groups have the labels of the world and nothing else: one look for each family.
        alike: dict[LabelSet, set[int]] = {}
        for slot in new:
            labels = self._labels.labels(slot)
            if labels not in alike:
                alike[labels] = set(self._index.matching(labels))
            self.classes.place(slot, alike[labels] | self.prefixes.covering(slot))
        for slot in self.prefixes.take_dead():
            self._labels.remove(slot)
            self.classes.remove(slot)
            self._free.append(slot)

    def _cover_of(self, slot: int) -> set[int]:
        """Every selector that selects what is at a slot."""
        selected = set(self._index.matching(self._labels.labels(slot)))
        selected.update(self._held(self._ports.get(slot, frozenset())))
        return selected | self.prefixes.covering(slot)

    def _new_group(self, labels: LabelSet) -> int:
        slot = self._new_slot(0)
        self._labels.add(slot, labels)
        return slot
