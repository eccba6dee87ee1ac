"""nat: who hides behind the node's address, and on which port.

Each mapping is two entries, out and in.

Source:
    bpf/lib/nat.h.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from cilia.datapath import layout
from cilia.kernel.maps import Map


class NatEntry(msgspec.Struct, frozen=True):
    """One direction of a mapping, decoded for people."""

    direction: str
    """out: the key is the packet as the pod sends it; in: the reply as it arrives."""
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    address: str
    """The new source (out), or destination (in)."""
    port: int
    age_s: float
    idle_s: float


def decode(key: Any, value: Any, now_ns: int) -> NatEntry:
    """One row as a value; `now_ns` is CLOCK_MONOTONIC."""
    return NatEntry(
        direction="in" if int(key["direction"]) == layout.constant("NAT_IN") else "out",
        protocol=int(key["protocol"]),
        source=str(layout.decode_address(key["source"].item())),
        source_port=int(key["source_port"]),
        destination=str(layout.decode_address(key["destination"].item())),
        destination_port=int(key["destination_port"]),
        address=str(layout.decode_address(value["address"].item())),
        port=int(value["port"]),
        age_s=(now_ns - int(value["created"])) / 1e9,
        idle_s=(now_ns - int(value["last_seen"])) / 1e9,
    )


class NatMap:
    """The map."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self.rows = maps["nat"]

    @property
    def capacity(self) -> int:
        """How many entries fit, two a mapping."""
        return self.rows.max_entries

    def sweep(self, idle_s: int, now_ns: int | None = None) -> int:
        """Removes entries that saw no packet for `idle_s`; how many.

        Keep it above the longest conntrack lifetime: a mapping must outlive its connection.
        """
        keys, values = self.rows.entries()
        moment = time.monotonic_ns() if now_ns is None else now_ns
        oldest = max(moment - idle_s * 1_000_000_000, 0)
        return self.rows.drop(keys[values["last_seen"] < oldest])

    def delete_addresses(self, addresses: Iterable[bytes]) -> int:
        """Removes both entries of every mapping of these pods' addresses; how many."""
        wanted = np.frombuffer(b"".join(addresses), "V16")
        keys, values = self.rows.entries()
        incoming = keys["direction"] == layout.constant("NAT_IN")
        pod = np.where(incoming, values["address"], keys["source"])
        return self.rows.drop(keys[np.isin(pod, wanted)])

    def entries(self) -> list[NatEntry]:
        """All rows, decoded."""
        now = time.monotonic_ns()
        keys, values = self.rows.entries()
        return [decode(key, value, now) for key, value in zip(keys, values, strict=True)]
