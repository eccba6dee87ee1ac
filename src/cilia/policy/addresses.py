"""Addresses of nodes and pods that CIDR rules match as well, where that is chosen.

Such an address is a peer of its own: it has what its identity carries, and lies in
prefixes besides. Its class goes to the ipcache only where it differs from the class
of its identity.

Source: https://docs.cilium.io/en/stable/security/policy/language/#selecting-nodes-with-cidr-ipblock
"""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from cilia.model.prefixes import PREFIX_KEY, PrefixKeys, as_keys
from cilia.policy.delta import PREFIX, Rows


class AddressTable:
    """Address -> identity and slot, and what has been told to the ipcache.

    Attributes:
        slots: The slot of each address that has been placed, by its 17-byte prefix key.
    """

    def __init__(self) -> None:
        self.slots: dict[bytes, int] = {}
        self._identity: dict[bytes, int] = {}
        self._of: dict[int, set[bytes]] = {}
        self._changed: set[bytes] = set()
        self._told: dict[bytes, tuple[int, int]] = {}

    def put(self, key: bytes, identity: int) -> None:
        """Says whose an address is."""
        if self._identity.get(key) != identity:
            self._forget(key)
            self._identity[key] = identity
            self._of.setdefault(identity, set()).add(key)
            self._changed.add(key)

    def delete(self, key: bytes) -> None:
        """Says that an address is nobody's any more."""
        self._forget(key)
        self._changed.discard(key)

    def take_changed(
        self, known: Collection[int], placed: Iterable[int]
    ) -> list[tuple[bytes, int]]:
        """Addresses to place, with their identities, once.

        Args:
            known: The identities that there are; addresses of others wait.
            placed: Those that came or changed what they carry.
        """
        due = self._changed.union(*(self._of.get(identity, ()) for identity in placed))
        ready = [(key, self._identity[key]) for key in due if self._identity[key] in known]
        self._changed = due.difference(key for key, _ in ready)
        return ready

    def take_gone(self) -> list[int]:
        """The slots of addresses that are nobody's any more, once."""
        return [self.slots.pop(key) for key in self.slots.keys() - self._identity.keys()]

    def changes(
        self, class_of: NDArray[np.uint32], slot_of: Mapping[int, int]
    ) -> tuple[Rows, PrefixKeys]:
        """What the ipcache must be told since the last call.

        Args:
            class_of: The class of each slot.
            slot_of: The slot of each identity.

        Returns:
            Addresses to write, dtype PREFIX, and those that follow their identity again.
        """
        now = self._apart(class_of, slot_of)
        fresh = {key: row for key, row in now.items() if self._told.get(key) != row}
        gone = self._told.keys() - now.keys()
        self._told = now
        return _rows(fresh), _keys(gone)

    def move(self, class_of: NDArray[np.uint32], slot_of: Mapping[int, int]) -> bool:
        """True if `changes` has something to tell."""
        return self._apart(class_of, slot_of) != self._told

    def all(self) -> Rows:
        """Every address that has a class of its own: dtype PREFIX."""
        return _rows(self._told)

    def _apart(
        self, class_of: NDArray[np.uint32], slot_of: Mapping[int, int]
    ) -> dict[bytes, tuple[int, int]]:
        found = {}
        for key, slot in self.slots.items():
            identity = self._identity.get(key)
            if identity is None:
                continue
            mine, theirs = int(class_of[slot]), slot_of.get(identity)
            if theirs is None or mine != int(class_of[theirs]):
                found[key] = (identity, mine)
        return found

    def _forget(self, key: bytes) -> None:
        before = self._identity.pop(key, None)
        if before is not None:
            self._of[before].discard(key)
            if not self._of[before]:
                del self._of[before]


def _rows(found: Mapping[bytes, tuple[int, int]]) -> Rows:
    rows = np.zeros(len(found), dtype=PREFIX)
    if found:
        rows["key"] = _keys(found)
        rows["identity"], rows["class"] = np.array(list(found.values()), dtype=np.uint32).T
    return rows


def _keys(keys: Iterable[bytes]) -> PrefixKeys:
    raw = b"".join(keys)
    if not raw:
        return np.zeros(0, dtype=PREFIX_KEY)
    return as_keys(np.frombuffer(raw, dtype=np.uint8).reshape(-1, 17))
