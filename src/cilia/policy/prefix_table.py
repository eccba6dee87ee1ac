"""The prefixes of rules: their groups, their identities, and what the ipcache must hold.

Two families, each with its own coverage. A group has a slot among the peers, so
that one mechanism makes classes of identities and of prefixes alike.
"""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from cilia.model.identities import PREFIX_FIRST, PREFIX_LAST, ReservedIdentity, world_identity
from cilia.model.labels import LabelSet
from cilia.model.prefixes import PREFIX_KEY, PrefixKeys, as_keys, last_keys
from cilia.policy.cidr_table import CidrTable
from cilia.policy.coverage import Coverage, has_no_bits
from cilia.policy.delta import PREFIX, Rows

_V4_HEAD = bytes(10) + b"\xff\xff"
_V4_ROOT = _V4_HEAD + bytes(4) + bytes((96,))
_V6_ROOT = bytes(17)
_ROOTS = (_V4_ROOT, _V6_ROOT)
_NOTHING: frozenset[int] = frozenset()


class Worlds(msgspec.Struct, frozen=True):
    """Which identities are the whole of a family: one each, or one where there is one family."""

    v4: bool = True
    """Pods have IPv4 addresses."""
    v6: bool = True
    """Pods have IPv6 addresses."""

    def identity(self, *, v4: bool) -> ReservedIdentity:
        """The identity of what is outside, in one family."""
        return world_identity(4 if v4 else 6, dual_stack=self.v4 and self.v6)

    def labels(self, *, v4: bool) -> LabelSet:
        """Its labels."""
        return (f"reserved:{self.identity(v4=v4).label_name}",)

    def prefixes(self, identity: int) -> tuple[bytes, ...]:
        """The whole families that an identity stands for; none for all that is not the world.

        The one world of a node with one family stands for that family alone: a rule for the
        whole of the other family does not speak of it.
        """
        if identity == ReservedIdentity.WORLD and self.v4 != self.v6:
            return (_V4_ROOT,) if self.v4 else (_V6_ROOT,)
        if identity == ReservedIdentity.WORLD_IPV4:
            return (_V4_ROOT,)
        return (_V6_ROOT,) if identity == ReservedIdentity.WORLD_IPV6 else ()


class PrefixTable:
    """Prefix -> group -> slot, and what has been told to the ipcache."""

    def __init__(self, worlds: Worlds) -> None:
        self._worlds = worlds
        self._located: dict[int, tuple[bytes, ...]] = {}
        self._families: dict[bool, Coverage] = {}
        self._slots: dict[bool, NDArray[np.int64]] = {}
        self._covering: dict[int, frozenset[int]] = {}
        self._dead: set[int] = set()
        self._keys: PrefixKeys = np.zeros(0, dtype=PREFIX_KEY)
        self._key_slots: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._written: Rows = np.zeros(0, dtype=PREFIX)
        self._next_identity = PREFIX_FIRST

    def __len__(self) -> int:
        return len(self._keys)

    def adopt(self, prefixes: Rows) -> None:
        """Says what the ipcache holds already, so that prefixes keep their identities.

        Args:
            prefixes: dtype PREFIX, sorted by key.
        """
        self._written = prefixes
        known = prefixes["identity"]
        known = known[(known >= PREFIX_FIRST) & (known <= PREFIX_LAST)]
        self._next_identity = int(known.max(initial=PREFIX_FIRST - 1)) + 1

    def locate(self, slot: int, keys: tuple[bytes, ...]) -> bool:
        """Says which prefixes an identity stands for; True if that is a change."""
        before = self._located.pop(slot, ())
        if keys:
            self._located[slot] = keys
        elif before:
            self._covering.pop(slot, None)
        return before != keys

    def located(self) -> BitMap:
        """The slots of identities that stand for prefixes."""
        return BitMap(self._located)

    def covering(self, slot: int) -> frozenset[int]:
        """The CIDR sets that cover what is at a slot."""
        return self._covering.get(slot, _NOTHING)

    def identities(self, number: int) -> list[int]:
        """The identities of the rule prefixes that a CIDR set covers, in order."""
        slots = [slot for slot, numbers in self._covering.items() if number in numbers]
        found = self._written["identity"][np.isin(self._key_slots, slots)]
        return sorted(found.tolist())

    def cover(
        self, sets: CidrTable, new_group: Callable[[LabelSet], int]
    ) -> tuple[list[int], dict[int, frozenset[int]]]:
        """Computes the coverage anew.

        A group keeps the slot that its first prefix had, if nobody else has claimed it,
        so that a class stays what it was wherever that is possible.

        Args:
            sets: The CIDR sets in use.
            new_group: Makes a slot for a group with these labels.

        Returns:
            The slots that are new; and of those that were there before and are covered by other
            sets now, which sets covered them.
        """
        raw = b"".join((*_ROOTS, *(key for keys in self._located.values() for key in keys)))
        extra = as_keys(np.frombuffer(raw, dtype=np.uint8).reshape(-1, 17))
        new: list[int] = []
        moved: dict[int, frozenset[int]] = {}
        before = {slot for slots in self._slots.values() for slot in slots.tolist()}
        for v4 in (True, False):
            coverage = Coverage(sets, extra, v4=v4)
            slots = self._claim(coverage, v4)
            labels = self._worlds.labels(v4=v4)
            for group in np.flatnonzero(slots < 0).tolist():
                slots[group] = new_group(labels)
                new.append(int(slots[group]))
            self._families[v4], self._slots[v4] = coverage, slots
            for slot, numbers in zip(slots.tolist(), coverage.sets, strict=True):
                self._cover_slot(slot, numbers, moved)
        now = {slot for slots in self._slots.values() for slot in slots.tolist()}
        self._dead = before - now
        for slot in self._dead:
            self._covering.pop(slot, None)
        for slot, numbers in self._cover_located():
            self._cover_slot(slot, numbers, moved)
        self._list()
        return new, {slot: moved[slot] for slot in sorted(moved.keys() - set(new))}

    def _cover_slot(
        self, slot: int, numbers: frozenset[int], moved: dict[int, frozenset[int]]
    ) -> None:
        before = self._covering.get(slot, _NOTHING)
        if before != numbers:
            moved[slot] = before
            self._covering[slot] = numbers

    def take_dead(self) -> set[int]:
        """The slots that no group has any more, once."""
        dead, self._dead = self._dead, set()
        return dead

    def changes(self, class_of: NDArray[np.uint32]) -> tuple[Rows, PrefixKeys]:
        """What the ipcache must be told since the last call.

        Returns:
            Prefixes to write, dtype PREFIX, and the keys of those to remove.
        """
        now = np.zeros(len(self._keys), dtype=PREFIX)
        now["key"] = self._keys
        now["class"] = class_of[self._key_slots]
        before = self._written
        place = np.searchsorted(before["key"], now["key"])
        inside = place < len(before)
        known = inside.copy()
        known[inside] = before["key"][place[inside]] == now["key"][inside]
        now["identity"][known] = before["identity"][place[known]]
        self._number(now, known)
        changed = ~known
        changed[known] = now["class"][known] != before["class"][place[known]]
        gone = np.ones(len(before), dtype=np.bool_)
        gone[place[known]] = False
        self._written = now
        return now[changed], before["key"][gone]

    def all(self) -> Rows:
        """Every prefix that the ipcache has been told: dtype PREFIX, sorted by key."""
        return self._written

    def _number(self, now: Rows, known: NDArray[np.bool_]) -> None:
        """Gives identities to prefixes that are new; the guard prefix has world's own."""
        fresh = np.flatnonzero(~known)
        if self._next_identity + len(fresh) > PREFIX_LAST:
            taken = np.sort(now["identity"][known])
            free = np.setdiff1d(np.arange(PREFIX_FIRST, PREFIX_LAST + 1, dtype=np.uint32), taken)
            now["identity"][fresh] = free[: len(fresh)]
            return
        now["identity"][fresh] = self._next_identity + np.arange(len(fresh), dtype=np.uint32)
        self._next_identity += len(fresh)
        now["identity"][now["key"] == _V4_ROOT] = self._worlds.identity(v4=True)

    def _claim(self, coverage: Coverage, v4: bool) -> NDArray[np.int64]:
        """The slot of each group; -1 where it needs a new one."""
        slots = np.full(len(coverage.first), -1, dtype=np.int64)
        before = self._families.get(v4)
        if before is None or len(before.keys) == 0:
            return slots
        firsts = coverage.keys[coverage.first]
        place = np.minimum(np.searchsorted(before.keys, firsts), len(before.keys) - 1)
        same = before.keys[place] == firsts
        wanted = self._slots[v4][before.group[place]]
        known = np.flatnonzero(same)
        claimed, by = np.unique(wanted[known], return_index=True)
        slots[known[by]] = claimed
        return slots

    def _cover_located(self) -> Iterator[tuple[int, frozenset[int]]]:
        for slot, keys in self._located.items():
            sets: frozenset[int] = frozenset()
            for key in keys:
                v4 = key.startswith(_V4_HEAD)
                coverage = self._families[v4]
                at = int(np.searchsorted(coverage.keys, np.array([key], dtype=PREFIX_KEY))[0])
                sets |= coverage.sets[int(coverage.group[at])]
            yield slot, sets

    def _list(self) -> None:
        """Lists what belongs into the ipcache: all that rules name but the whole families.

        An IPv6 prefix that contains the IPv4-mapped addresses would catch IPv4 too: then
        the whole of IPv4 is listed with world's class as a guard.
        """
        keys: list[PrefixKeys] = []
        slots: list[NDArray[np.int64]] = []
        for v4 in (False, True):
            coverage = self._families[v4]
            mine = coverage.named & ~has_no_bits(coverage.keys, v4=v4)
            if v4 and len(keys[0]) and _reaches_v4(keys[0]):
                mine[0] = True
            keys.append(coverage.keys[mine])
            slots.append(self._slots[v4][coverage.group[mine]])
        self._keys = np.concatenate(keys)
        self._key_slots = np.concatenate(slots)
        order = np.argsort(self._keys, kind="stable")
        self._keys, self._key_slots = self._keys[order], self._key_slots[order]


def _reaches_v4(keys: PrefixKeys) -> bool:
    """True if one of these IPv6 prefixes contains the IPv4-mapped addresses."""
    root = np.array([_V4_ROOT], dtype=PREFIX_KEY)
    return bool(np.any((keys <= root) & (last_keys(keys) >= root)))
