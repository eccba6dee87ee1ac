"""Whose socket it was: the caller of a translation, told by the packets of the same socket.

At the socket no address of the caller is known yet. Its first packet follows within
microseconds and carries the socket's cookie; from then on the cgroup is known too, so that
later calls of a container need no packet. A cgroup that several pods share tells nothing.
"""

import secrets
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.columns import halves_of
from cilia.hubble.events import DROP, SOCK_FILE, SOCK_POST_FORWARD, SOCK_PRE_REVERSE, TRACE_SOCK
from cilia.model.identities import ReservedIdentity

Records = NDArray[np.void]

SLOTS = 1 << 16
"""As many sockets as the datapath remembers."""
CGROUPS = 16_384
CALLER = ("source", "source_identity", "source_endpoint")
TARGET = np.dtype([("identity", "u4"), ("endpoint", "u4")])


class SocketTable:
    """Values by socket and destination; of two that fall into one slot the later stays.

    Args:
        values: dtype of a value.
    """

    def __init__(self, values: np.dtype[Any]) -> None:
        self._keys = np.zeros(SLOTS, np.uint64)
        self._values = np.zeros(SLOTS, values)
        self._factors = [np.uint64(secrets.randbits(64) | 1) for _ in range(4)]

    def put(self, records: Records, values: NDArray[Any]) -> None:
        """Keeps a value for the cookie, destination and port of each record."""
        keys = self._keys_of(records)
        slots = keys >> np.uint64(48)
        self._keys[slots], self._values[slots] = keys, values

    def get(self, records: Records) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The value of each record, and whether there is one."""
        keys = self._keys_of(records)
        slots = keys >> np.uint64(48)
        return self._values[slots], (self._keys[slots] == keys) & (records["cookie"] != 0)

    def _keys_of(self, records: Records) -> NDArray[np.uint64]:
        halves = halves_of(records["destination"])
        one, two, three, four = self._factors
        port = records["destination_port"].astype("u8")
        keys = records["cookie"].astype("u8") * one + halves[:, 0] * two
        found: NDArray[np.uint64] = (keys + halves[:, 1] * three + port * four).astype("u8")
        return found


class Callers:
    """Completes the records of sockets; remembers callers by their cgroups.

    Args:
        is_dual_stack: Whether the world has an identity a family; frontends are of the world.
    """

    def __init__(self, is_dual_stack: Callable[[], bool] = lambda: False) -> None:
        self._is_dual_stack = is_dual_stack
        self._known: dict[tuple[int, bool], tuple[bytes, int, int] | None] = {}
        self._targets = SocketTable(TARGET)
        self._factors = [np.uint64(secrets.randbits(64) | 1) for _ in range(3)]

    def complete(self, records: Records) -> Records:
        """The same records, those of sockets with source and destination as far as known.

        Args:
            records: Shape (n,), `struct event_record`; not changed.
        """
        socks = np.flatnonzero(of_sockets(records))
        if not len(socks):
            return records
        records = taken(records, slice(None)).copy().view(records.dtype)
        self._join_packets(records, socks)
        rows = taken(records, socks).view(records.dtype)
        self._remember(rows)
        self._recall(rows)
        backend = is_backend(rows)
        targets, known = self._targets.get(rows)
        for name in TARGET.names or ():
            rows[f"destination_{name}"] = np.where(backend & known, targets[name], 0)
        rows["destination_identity"][~backend] = self._worlds(rows)[~backend]
        taken(records, slice(None))[socks] = rows.view(f"V{records.itemsize}")
        return records

    def _worlds(self, rows: Records) -> NDArray[np.uint32]:
        worlds = (ReservedIdentity.WORLD,) * 2
        if self._is_dual_stack():
            worlds = (ReservedIdentity.WORLD_IPV4, ReservedIdentity.WORLD_IPV6)
        return np.where(_are_v4(rows), np.uint32(worlds[0]), np.uint32(worlds[1]))

    def _join_packets(self, records: Records, socks: NDArray[np.intp]) -> None:
        """Takes the source from the first packet of the same socket, and learns its target."""
        sockets = records["cookie"][socks]
        packets = np.isin(records["cookie"], sockets[sockets != 0])
        packets &= records["source_identity"] != 0
        places = np.flatnonzero(packets)
        if not len(places):
            return
        sent = taken(records, places).view(records.dtype)
        target = np.empty(len(places), TARGET)
        for name in TARGET.names or ():
            target[name] = sent[f"destination_{name}"]
        self._targets.put(sent, target)
        cookies, first = np.unique(sent["cookie"], return_index=True)
        at = np.minimum(np.searchsorted(cookies, sockets), len(cookies) - 1)
        found = cookies[at] == sockets
        for name in CALLER:
            records[name][socks[found]] = sent[name][first[at[found]]]

    def _recall(self, rows: Records) -> None:
        """Names those whose packets did not, by their cgroups."""
        nameless, v4 = rows["source_identity"] == 0, _are_v4(rows)
        for cgroup in np.unique(rows["cgroup"][nameless]).tolist():
            for family in (True, False):
                if caller := self._known.get((cgroup, family)):
                    these = nameless & (rows["cgroup"] == cgroup) & (v4 == family)
                    for name, value in zip(CALLER, caller, strict=True):
                        rows[name][these] = np.void(value) if isinstance(value, bytes) else value

    def _remember(self, rows: Records) -> None:
        """Which cgroup belongs to which caller; one that has two of them to nobody."""
        places = np.flatnonzero((rows["source_identity"] != 0) & (rows["cgroup"] != 0))
        named = taken(rows, places).view(rows.dtype)
        halves = halves_of(named["source"])
        one, two, three = self._factors
        keys = named["cgroup"] * one + halves[:, 0] * two + halves[:, 1] * three
        _, first = np.unique(keys, return_index=True)
        named = taken(named, first).view(rows.dtype)
        for row, is_v4 in zip(named, _are_v4(named).tolist(), strict=True):
            key = (int(row["cgroup"]), is_v4)
            caller = (
                bytes(row["source"]), int(row["source_identity"]), int(row["source_endpoint"])
            )  # fmt: skip
            before = self._known.get(key, caller)
            shared = before is None or before[0] != caller[0]
            self._known[key] = None if shared else caller
        while len(self._known) > CGROUPS:
            del self._known[next(iter(self._known))]


def taken(records: Records, places: NDArray[np.intp] | slice) -> NDArray[np.void]:
    """Some records as bytes; numpy copies 30 fields one by one, 120 bytes at once."""
    raw: NDArray[np.void] = records.view(f"V{records.itemsize}")
    return raw[places]


class Columns(Protocol):
    """Records, or rows of the store."""

    def __getitem__(self, name: str, /) -> NDArray[Any]: ...


def of_sockets(records: Columns) -> NDArray[np.bool_]:
    """Which records the programs at the socket wrote."""
    found: NDArray[np.bool_] = (records["type"] == TRACE_SOCK) | (
        (records["type"] == DROP) & (records["file"] == SOCK_FILE)
    )
    return found


def is_backend(rows: Records) -> NDArray[np.bool_]:
    """Whose destination is a backend; that of the others is the frontend."""
    found: NDArray[np.bool_] = (rows["type"] == TRACE_SOCK) & (
        (rows["subtype"] == SOCK_POST_FORWARD) | (rows["subtype"] == SOCK_PRE_REVERSE)
    )
    return found


def _are_v4(rows: Records) -> NDArray[np.bool_]:
    halves = halves_of(rows["destination"])
    found: NDArray[np.bool_] = (halves[:, 0] == 0) & (
        halves[:, 1].byteswap() >> np.uint64(32) == 0xFFFF
    )
    return found
