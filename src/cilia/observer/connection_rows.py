"""Rows of conntrack as connections with a source, and who is at their ends."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.datapath import layout
from cilia.hubble.columns import halves_of
from cilia.hubble.connections import Counters, Flags
from cilia.hubble.ended import CONNECTION, Connections
from cilia.hubble.parties import SIDES, Parties

Rows = NDArray[Any]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_NO_ENDPOINT = 0


def counters_of(values: Rows) -> Counters:
    """Packets there and back, bytes there and back; shape `(n, 4)`."""
    return np.concatenate([values["packets"], values["bytes"]], axis=1).astype(np.uint64)


def is_closed(values: Rows) -> Flags:
    """Which TCP connections both sides have ended, shape `(n,)`."""
    both = layout.constant("CONNTRACK_TX_CLOSING") | layout.constant("CONNTRACK_RX_CLOSING")
    result: Flags = (values["flags"] & both) == both
    return result


def picked(rows: Rows, chosen: Flags) -> Rows:
    """Some rows, moved whole: numpy goes through the fields of a structured row else."""
    raw = np.ascontiguousarray(rows).view(f"V{rows.dtype.itemsize}")
    return raw[chosen].view(rows.dtype)


def connections(keys: Rows, values: Rows, offset_ns: int) -> Connections:
    """Rows of conntrack, the source being who began; parties are left at 0.

    Args:
        keys: Shape `(n,)`, struct conntrack_key.
        values: Shape `(n,)`, struct conntrack_entry.
        offset_ns: What makes their times Unix times.
    """
    rows = np.zeros(len(keys), CONNECTION)
    low_began = (values["flags"] & layout.constant("CONNTRACK_LOW_BEGAN")) != 0
    for side, (mine, other) in zip(SIDES, (("low", "high"), ("high", "low")), strict=True):
        rows[side] = np.where(low_began, keys[mine], keys[other])
        rows[f"{side}_port"] = np.where(low_began, keys[f"{mine}_port"], keys[f"{other}_port"])
        rows[f"{side}_identity"] = values[f"{side}_identity"]
    rows["protocol"] = keys["protocol"]
    for name in ("flags", "tcp_flags", "provenance", "packets", "bytes"):
        rows[name] = values[name]
    rows["first_seen"] = values["first_seen"].astype("i8") + offset_ns
    last = values["last_seen"].astype("i8")
    rows["last_seen"] = np.where(last, last + offset_ns, 0)
    return rows


class Ends:
    """Finds the parties at the ends of connections: the same as those of their flows.

    Conntrack knows addresses and identities; which endpoint had them is known from flows.

    Args:
        parties: Those of the flows.
        events: Layout of the records that parties are known from.
    """

    def __init__(self, parties: Parties, events: np.dtype[Any]) -> None:
        self._parties = parties
        self._events = events
        self._endpoints: dict[tuple[int, bytes], int] = {}
        self._seen = 0

    def resolve(self, rows: Connections) -> None:
        """Fills in the parties of connections; goes through ends, not through connections."""
        self._learn()
        records = np.zeros(len(rows), self._events)
        for side in SIDES:
            records[side] = rows[side]
            records[f"{side}_identity"] = rows[f"{side}_identity"]
            records[f"{side}_endpoint"] = self._endpoints_of(rows, side)
            rows[f"{side}_party"] = self._parties.numbers(records, side)

    def _learn(self) -> None:
        """Takes note of endpoints that flows have named since the last look."""
        rows = self._parties.rows
        for party in rows[self._seen :]:
            if party.endpoint and party.address:
                place = (party.identity, layout.encode_address(party.address))
                self._endpoints[place] = party.endpoint
        self._seen = len(rows)

    def _endpoints_of(self, rows: Connections, side: str) -> NDArray[np.uint32]:
        identity = rows[f"{side}_identity"].astype(np.uint64)
        halves = halves_of(rows[side])
        keys = ((identity * _MIX ^ halves[:, 0]) * _MIX ^ halves[:, 1]) * _MIX
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        found = [
            self._endpoints.get((int(identity[at]), rows[side][at].tobytes()), _NO_ENDPOINT)
            for at in first
        ]
        return np.array(found, np.uint32)[inverse]
