"""Rows and rule prefixes to the kernel's ipcache map, in bulk."""

import ipaddress
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cilia.ipcache.ports import PrefixRows
from cilia.model.prefixes import PREFIX_KEY, PrefixKeys, as_keys
from cilia.runtime.reconciler import Failed
from cilia.runtime.table import Table
from cilia.state.ipcache import IpcacheRow

log = logging.getLogger(__name__)

Numbers = NDArray[np.uint32]
_NO_KEYS: PrefixKeys = np.zeros(0, PREFIX_KEY)
_NO_NUMBERS: Numbers = np.zeros(0, np.uint32)


def row_keys(rows: Sequence[IpcacheRow]) -> PrefixKeys:
    """Returns the keys of rows as one array."""
    return as_keys(np.frombuffer(b"".join(row.key for row in rows), np.uint8).reshape(-1, 17))


class KernelIpcache:
    """The kernel's ipcache: a reconciler's target for rows, and `assign_prefixes` for rules.

    A row shadows a rule's prefix of the same key. Nothing is pruned before both
    the rows are synced and the rules' prefixes were assigned once.
    """

    def __init__(self, kernel: PrefixRows, table: Table[IpcacheRow]) -> None:
        self._kernel = kernel
        self._table = table
        self._keys, self._identities, self._classes = _NO_KEYS, _NO_NUMBERS, _NO_NUMBERS
        self._assigned = False

    # Rows

    async def update(self, rows: Sequence[IpcacheRow]) -> Sequence[Failed]:
        """Writes rows."""
        self._put_rows(rows)
        return []

    async def delete(self, rows: Sequence[IpcacheRow]) -> Sequence[Failed]:
        """Removes rows; where a rule names the same prefix, its entry comes back."""
        keys = np.sort(row_keys(rows))
        found, at = self._look_up(keys)
        self._put_prefixes(at)
        self._kernel.delete_keys(keys[~found])
        return []

    async def prune(self, rows: Sequence[IpcacheRow]) -> Sequence[Failed]:
        """Writes rows, and removes what neither a row nor a rule's prefix explains."""
        self._put_rows(rows)
        if self._assigned:
            self._put_prefixes(np.flatnonzero(~self._shadowed(self._keys)))
            self._drop_unexplained(rows)
        return []

    # Prefixes of rules

    def assign_prefixes(self, keys: PrefixKeys, identities: Numbers, classes: Numbers) -> None:
        """Makes these the prefixes that rules name; returns when the kernel has them.

        Args:
            keys: Shape `(n,)`, each once, in any order.
            identities: Shape `(n,)`, node-local numbers.
            classes: Shape `(n,)`, the class that policy rows are keyed by.

        Raises:
            KernelError: the map refused; the old prefixes still count.
        """
        order = np.argsort(keys)
        keys = keys[order]
        identities = identities[order].astype(np.uint32)
        classes = classes[order].astype(np.uint32)
        known, at = self._look_up(keys)
        same = np.zeros(len(keys), np.bool_)
        same[known] = (self._identities[at] == identities[known]) & (
            self._classes[at] == classes[known]
        )
        gone = self._keys[~np.isin(self._keys, keys)]
        fresh = ~same if self._assigned else np.ones(len(keys), np.bool_)
        fresh &= ~self._shadowed(keys)
        self._put(keys[fresh], identities[fresh], classes[fresh])
        self._keys, self._identities, self._classes = keys, identities, classes
        self._kernel.delete_keys(gone[~self._shadowed(gone)])
        if not self._assigned:
            self._assigned = True
            if self._table.synced.is_set():
                self._drop_unexplained(self._table.snapshot())

    def prefixes(self) -> tuple[PrefixKeys, Numbers, Numbers]:
        """Returns the rules' prefixes, sorted, with their identities and classes."""
        return self._keys, self._identities, self._classes

    # Insides

    def _look_up(self, keys: PrefixKeys) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which keys are rule prefixes, and where those are."""
        at = np.searchsorted(self._keys, keys)
        inside = at < len(self._keys)
        found = np.zeros(len(keys), np.bool_)
        found[inside] = self._keys[at[inside]] == keys[inside]
        return found, at[found].astype(np.int64)

    def _shadowed(self, keys: PrefixKeys) -> NDArray[np.bool_]:
        return np.isin(keys, row_keys(self._table.snapshot()))

    def _put_rows(self, rows: Sequence[IpcacheRow]) -> None:
        tunnels = {node: _v4_number(node) for node in {row.node for row in rows}}
        self._kernel.write_columns(
            row_keys(rows),
            np.array([row.identity for row in rows], np.uint32),
            tunnels=[tunnels[row.node] for row in rows],
        )

    def _put_prefixes(self, at: NDArray[np.int64]) -> None:
        self._put(self._keys[at], self._identities[at], self._classes[at])

    def _put(self, keys: PrefixKeys, identities: Numbers, classes: Numbers) -> None:
        self._kernel.write_columns(keys, identities, classes)

    def _drop_unexplained(self, rows: Sequence[IpcacheRow]) -> None:
        held = self._kernel.prefixes()
        explained = np.concatenate([row_keys(rows), self._keys])
        stale = held[~np.isin(held, explained)]
        if len(stale):
            log.info("stale prefixes removed", extra={"prefixes": len(stale)})
            self._kernel.delete_keys(stale)


def _v4_number(text: str) -> int:
    """Returns an IPv4 address as a number; 0 for none and for IPv6."""
    return int(ipaddress.IPv4Address(text)) if text and ":" not in text else 0
