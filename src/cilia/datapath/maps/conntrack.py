"""conntrack: connections, what was decided about them, and their counters.

Programs write; the agent sweeps what has expired and what belongs to a pod
that is gone.

Source:
    bpf/lib/conntrack.h.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.datapath import layout
from cilia.datapath.maps.ended import EndedMap
from cilia.kernel.maps import Map

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_LOOKED = 1024
"""So many rows a sweep looks at again before it removes them."""

Rows = NDArray[np.void]
Seen = Callable[[Rows, Rows], None]


class Connection(msgspec.Struct, frozen=True):
    """One connection, decoded for people; source is who began it."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    source_identity: int
    destination_identity: int
    packets: tuple[int, int]
    """From the source, and back."""
    bytes: tuple[int, int]
    age_s: float
    expires_in_s: int
    """Negative: it is dead and waits to be swept."""
    flags: tuple[str, ...]
    provenance: tuple[int, int]
    """Of the ingress and of the egress verdict; 0: no rule."""
    generation: tuple[int, int]
    proxy_port: int
    tcp_flags: tuple[int, int] = (0, 0)
    """Seen from the source, and back."""


def decode(key: Any, value: Any, now_ns: int) -> Connection:
    """One row as a value; `now_ns` is CLOCK_MONOTONIC."""
    prefix = "CONNTRACK_"
    flags = [
        name.removeprefix(prefix).lower()
        for name, bit in layout.btf().enum("conntrack_flag").items()
        if int(value["flags"]) & bit
    ]
    sides = [
        (str(layout.decode_address(key[side].item())), int(key[f"{side}_port"]))
        for side in ("low", "high")
    ]
    if not int(value["flags"]) & layout.constant("CONNTRACK_LOW_BEGAN"):
        sides.reverse()
    (source, source_port), (destination, destination_port) = sides
    return Connection(
        protocol=int(key["protocol"]),
        source=source,
        source_port=source_port,
        destination=destination,
        destination_port=destination_port,
        source_identity=int(value["source_identity"]),
        destination_identity=int(value["destination_identity"]),
        packets=tuple(value["packets"].tolist()),
        bytes=tuple(value["bytes"].tolist()),
        age_s=(now_ns - int(value["first_seen"])) / 1e9,
        expires_in_s=int(value["expires_s"]) - now_ns // 1_000_000_000,
        flags=tuple(name for name in flags if name != "low_began"),
        provenance=tuple(value["provenance"].tolist()),
        generation=tuple(value["generation"].tolist()),
        proxy_port=int(value["proxy_port"]),
        tcp_flags=tuple(value["tcp_flags"].tolist()),
    )


def expired(values: NDArray[np.void], now_s: int) -> NDArray[np.bool_]:
    """Which rows nobody may use any more."""
    result: NDArray[np.bool_] = values["expires_s"] < now_s
    return result


def touches(keys: NDArray[np.void], addresses: Iterable[bytes]) -> NDArray[np.bool_]:
    """Which connections have one of these addresses on either side."""
    wanted = np.frombuffer(b"".join(addresses), "V16")
    result: NDArray[np.bool_] = np.isin(keys["low"], wanted) | np.isin(keys["high"], wanted)
    return result


def connection_ids(keys: Rows, first_seen: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number for each connection; another connection between the same ports has another.

    Shape `(n,)`. Of 64 bits, so that two of a million hardly ever share one.
    """
    words = np.ascontiguousarray(keys).view(np.uint64).reshape(len(keys), keys.dtype.itemsize // 8)
    mixed = first_seen.astype(np.uint64)
    for column in words.T:
        mixed = (mixed ^ column) * _MIX
        mixed ^= mixed >> _HALF
    result: NDArray[np.uint64] = mixed
    return result


class ConntrackMap:
    """The map. What it removes is kept in `ended` first, so that its counters are not lost."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self.rows = maps["conntrack"]
        self._ended = EndedMap(maps)

    @property
    def capacity(self) -> int:
        """How many connections fit; beyond it, the longest unused one goes."""
        return self.rows.max_entries

    def sweep(self, now_s: int | None = None, *, seen: Seen | None = None) -> int:
        """Removes what has expired; how many.

        Programs never use an expired entry, but put a new connection in its place: each is
        looked at again just before it is removed, and what began meanwhile stays.

        Args:
            now_s: CLOCK_MONOTONIC; None: as it is now.
            seen: Is shown all rows before any is removed.
        """
        keys, values = self.rows.entries()
        if seen is not None:
            seen(keys, values)
        moment = int(time.monotonic()) if now_s is None else now_s
        dead = np.flatnonzero(expired(values, moment))
        return sum(
            self._remove_same(keys[some], values[some])
            for some in np.split(dead, range(_LOOKED, len(dead), _LOOKED))
        )

    def delete_addresses(self, addresses: Iterable[bytes]) -> int:
        """Removes every connection of these addresses (16 bytes each); how many.

        For pods that are gone: their addresses come back as other pods'.
        """
        keys, values = self.rows.entries()
        return self._remove(keys, values, touches(keys, addresses))

    def clear(self) -> int:
        """Removes all connections; how many."""
        keys, values = self.rows.entries()
        return self._remove(keys, values, np.ones(len(keys), bool))

    def columns(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """All rows as arrays, for counting."""
        return self.rows.entries()

    def connections(self) -> list[Connection]:
        """All rows, decoded."""
        now = time.monotonic_ns()
        keys, values = self.rows.entries()
        return [decode(key, value, now) for key, value in zip(keys, values, strict=True)]

    def _remove_same(self, keys: Rows, values: Rows) -> int:
        """Removes connections that still are what they were; how many."""
        found, now = self.rows.lookup_many(keys)
        return self._remove(keys, values, found & (now["first_seen"] == values["first_seen"]))

    def _remove(self, keys: Rows, values: Rows, chosen: NDArray[np.bool_]) -> int:
        gone = keys[chosen]
        self._ended.keep(gone, values[chosen])
        return self.rows.drop(gone)
