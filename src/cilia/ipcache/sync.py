"""Rows and rule prefixes to the kernel's ipcache map, in bulk."""

import ipaddress
import logging
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cilia.ipcache.claims import Source
from cilia.ipcache.ports import PrefixRows
from cilia.model.errors import CiliaError
from cilia.model.identities import are_of_rules
from cilia.model.prefixes import PREFIX_KEY, PrefixKeys, as_keys
from cilia.runtime.reconciler import Failed
from cilia.runtime.table import Table
from cilia.state.ipcache import IpcacheRow

log = logging.getLogger(__name__)

_WORLD = Source.WORLD.word

Numbers = NDArray[np.uint32]

RULE = np.dtype([("key", PREFIX_KEY), ("identity", "<u4"), ("class", "<u4")])
"""A prefix that a CIDR rule names."""
Rules = NDArray[np.void]


def row_keys(rows: Iterable[IpcacheRow]) -> PrefixKeys:
    """Returns the keys of rows as one array."""
    return as_keys(np.frombuffer(b"".join(row.key for row in rows), np.uint8).reshape(-1, 17))


def full_keys(keys: PrefixKeys) -> list[bytes]:
    """Returns keys one by one, with the zeros at the end that numpy leaves out."""
    return [key.ljust(17, b"\0") for key in keys.tolist()]


def rule_array(keys: PrefixKeys, identities: Numbers, classes: Numbers) -> Rules:
    """Returns columns as one array of RULE, sorted by key."""
    rules = np.zeros(len(keys), RULE)
    rules["key"], rules["identity"], rules["class"] = keys, identities, classes
    return rules[np.argsort(rules["key"])]


class KernelIpcache:
    """The kernel's ipcache: a reconciler's target for rows, and arrays for rules.

    On one key, a row wins over a rule and a rule over the world's row. Nothing is
    pruned before both the rows are synced and the rules were assigned once.
    """

    def __init__(self, kernel: PrefixRows, table: Table[IpcacheRow]) -> None:
        self._kernel = kernel
        self._table = table
        self._rules: Rules = np.zeros(0, RULE)
        self._assigned = False
        self._classes: dict[bytes, tuple[int, int]] = {}
        self._is_classified = False

    # Rows

    async def update(self, rows: Sequence[IpcacheRow]) -> Sequence[Failed]:
        """Writes rows."""
        self._put_rows(rows)
        return []

    async def delete(self, rows: Sequence[IpcacheRow]) -> Sequence[Failed]:
        """Removes rows; where a rule names the same prefix, its entry comes back."""
        keys = row_keys(rows)
        self._put_rules(self._rules[np.isin(self._rules["key"], keys)])
        self._kernel.delete_keys(keys[~np.isin(keys, self._rules["key"])])
        return []

    async def prune(self, rows: Sequence[IpcacheRow]) -> Sequence[Failed]:
        """Writes rows, and removes what neither a row nor a rule explains."""
        self._put_rows(rows)
        if self._assigned:
            self._put_rules(self._rules[~self._shadowed(self._rules["key"])])
            self._drop_unexplained()
        return []

    # Prefixes of rules; each call returns when the kernel has them

    def write_prefixes(self, keys: PrefixKeys, identities: Numbers, classes: Numbers) -> None:
        """Adds or changes prefixes that rules name.

        Args:
            keys: Shape `(n,)`, each once, in any order.
            identities: Shape `(n,)`, node-local numbers.
            classes: Shape `(n,)`, the class that policy rows are keyed by.

        Raises:
            KernelError: the map refused: all is as it was before.
        """
        if not len(keys):
            return
        fresh = rule_array(keys, identities, classes)
        try:
            self._put_rules(fresh[~self._shadowed(fresh["key"])])
        except CiliaError:
            self._take_back(fresh)
            raise
        others = self._rules[~np.isin(self._rules["key"], fresh["key"])]
        merged = np.concatenate([others, fresh])
        self._rules = merged[np.argsort(merged["key"])]

    def remove_prefixes(self, keys: PrefixKeys) -> None:
        """Removes prefixes that no rule names any more."""
        if not len(keys):
            return
        self._rules = self._rules[~np.isin(self._rules["key"], keys)]
        uncovered = [row for row in self._world() if np.isin(row_keys([row]), keys).any()]
        self._put_rows(uncovered)
        held = self._shadowed(keys) | np.isin(keys, row_keys(uncovered))
        self._kernel.delete_keys(keys[~held])

    def assign_prefixes(self, keys: PrefixKeys, identities: Numbers, classes: Numbers) -> None:
        """Makes these all the prefixes that rules name; arguments as `write_prefixes`."""
        wanted = rule_array(keys, identities, classes)
        gone = self._rules["key"][~np.isin(self._rules["key"], wanted["key"])]
        at = np.searchsorted(self._rules["key"], wanted["key"])
        at[at == len(self._rules)] = 0
        known = np.zeros(len(wanted), np.bool_)
        if len(self._rules):
            known = self._rules[at] == wanted
        changed = wanted[~known]
        self.write_prefixes(changed["key"], changed["identity"], changed["class"])
        self.remove_prefixes(gone)
        self.mark_assigned()

    def mark_assigned(self) -> None:
        """Says that the rules have told all their prefixes, be there any or none."""
        if not self._assigned:
            self._assigned = True
            if self._table.synced.is_set():
                self._drop_unexplained()

    # Classes of addresses that have rows

    def classify_addresses(
        self,
        keys: PrefixKeys,
        identities: Numbers,
        classes: Numbers,
        *,
        gone: PrefixKeys | None,
    ) -> None:
        """Gives addresses classes of their own, each while its row has the identity named here.

        A row with another identity is written without a class, and so has that of its
        identity, until the class for it is told.

        Args:
            keys: Shape `(n,)`, whole addresses, each once.
            identities: Shape `(n,)`.
            classes: Shape `(n,)`.
            gone: Those that follow their identity again; None: all others.
        """
        self._take_up_classes()
        told = zip(full_keys(keys), identities.tolist(), classes.tolist(), strict=True)
        fresh = {key: (identity, number) for key, identity, number in told}
        lost = self._classes.keys() if gone is None else set(full_keys(gone))
        lost = lost - fresh.keys()
        touched = lost | fresh.keys()
        self._classes = {k: v for k, v in self._classes.items() if k not in lost} | fresh
        self._put_rows([row for key in touched if (row := self._table.get(key)) is not None])

    def _take_up_classes(self) -> None:
        """Notes, once, the classes that an earlier agent gave to addresses of ours."""
        if not self._is_classified:
            self._is_classified = True
            keys, identities, classes = self._kernel.columns()
            chosen = (classes != 0) & ~are_of_rules(identities)
            told = zip(identities[chosen].tolist(), classes[chosen].tolist(), strict=True)
            self._classes = dict(zip(full_keys(keys[chosen]), told, strict=True))

    def held(self) -> tuple[PrefixKeys, Numbers, Numbers]:
        """Returns what the kernel holds, rows and rules: keys, identities, classes."""
        return self._kernel.columns()

    def prefixes(self) -> Rules:
        """Returns the rules' prefixes, dtype RULE, sorted by key."""
        return self._rules

    # Insides

    def _world(self) -> list[IpcacheRow]:
        return [row for row in self._table if row.source == _WORLD]

    def _shadowed(self, keys: PrefixKeys) -> NDArray[np.bool_]:
        strong = (row for row in self._table if row.source != _WORLD)
        return np.isin(keys, row_keys(strong))

    def _put_rows(self, rows: Sequence[IpcacheRow]) -> None:
        self._take_up_classes()
        keys = row_keys(rows)
        weak = np.array([row.source == _WORLD for row in rows], np.bool_)
        if weak.any():
            keep = ~(weak & np.isin(keys, self._rules["key"]))
            rows = [row for row, kept in zip(rows, keep.tolist(), strict=True) if kept]
            keys = keys[keep]
        tunnels = {node: _v4_number(node) for node in {row.node for row in rows}}
        self._kernel.write_columns(
            keys,
            np.array([row.identity for row in rows], np.uint32),
            np.array([self._class_of(row) for row in rows], np.uint32),
            tunnels=[tunnels[row.node] for row in rows],
        )

    def _class_of(self, row: IpcacheRow) -> int:
        """The class that an address was given with this identity; 0: that of its identity."""
        identity, number = self._classes.get(row.key, (0, 0))
        return number if identity == row.identity else 0

    def _put_rules(self, rules: Rules) -> None:
        self._kernel.write_columns(rules["key"], rules["identity"], rules["class"])

    def _take_back(self, fresh: Rules) -> None:
        """Undoes a write that found no room; what is half there would hold its room for ever."""
        before = self._rules
        self.remove_prefixes(fresh["key"][~np.isin(fresh["key"], before["key"])])
        changed = before[np.isin(before["key"], fresh["key"])]
        self._put_rules(changed[~self._shadowed(changed["key"])])

    def _drop_unexplained(self) -> None:
        held = self._kernel.columns()[0]
        explained = np.concatenate([row_keys(self._table), self._rules["key"]])
        stale = held[~np.isin(held, explained)]
        if len(stale):
            log.info("stale prefixes removed", extra={"prefixes": len(stale)})
            self._kernel.delete_keys(stale)


def _v4_number(text: str) -> int:
    """Returns an IPv4 address as a number; 0 for none and for IPv6."""
    return int(ipaddress.IPv4Address(text)) if text and ":" not in text else 0
