"""The ledger of connections as a file: a successor goes on where its observer was killed."""

import contextlib
import logging
import os
from pathlib import Path

import msgspec
import numpy as np

from cilia.hubble.connections import Ledger, Sums
from cilia.observer.account import BOOT
from cilia.runtime.files import open_private

log = logging.getLogger(__name__)


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of the file."""

    boot: str
    map_id: int
    rows: int
    sums: Sums


class LedgerFile:
    """Where the ledger is kept, as a line of JSON and then its columns.

    Args:
        path: On a file system in memory: it is written at every harvest, and of no use after
            a reboot.
        map_id: Of conntrack; what was known of another map counts for nothing.
    """

    def __init__(self, path: Path, map_id: int) -> None:
        self._path = path
        self._map_id = map_id
        self._boot = BOOT.read_text().strip()

    def read(self) -> tuple[Ledger, Sums]:
        """What was written last; empty when there is nothing of use."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return Ledger(), Sums()
        line, _, columns = raw.partition(b"\n")
        with contextlib.suppress(msgspec.DecodeError, ValueError):
            head = msgspec.json.decode(line, type=Head)
            if (head.boot, head.map_id) != (self._boot, self._map_id):
                return Ledger(), Sums()
            ids, counters, told = np.split(
                np.frombuffer(columns, "u1"), [8 * head.rows, 40 * head.rows]
            )
            if len(told) == head.rows:
                return _ledger(ids, counters, told), head.sums
        log.warning("ledger of connections is damaged, beginning anew", extra={"path": self._path})
        return Ledger(), Sums()

    def write(self, ledger: Ledger, sums: Sums) -> None:
        """Replaces the file as a whole."""
        head = Head(self._boot, self._map_id, len(ledger), sums)
        fresh = self._path.with_name(self._path.name + ".new")
        with open(fresh, "wb", opener=open_private) as file:
            file.write(msgspec.json.encode(head) + b"\n")
            for column in (ledger.ids, ledger.counters, ledger.told):
                file.write(np.ascontiguousarray(column).data)
        os.replace(fresh, self._path)


def _ledger(ids: np.ndarray, counters: np.ndarray, told: np.ndarray) -> Ledger:
    """Columns of bytes as a ledger of its own memory."""
    return Ledger(
        ids.copy().view(np.uint64),
        counters.copy().view(np.uint64).reshape(-1, 4),
        told.copy().view(bool),
    )
