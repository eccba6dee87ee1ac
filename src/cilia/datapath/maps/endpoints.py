"""endpoint and endpoint_addr: the node's pods, one row by interface and one by address.

A pod without a row, or whose row is not ready, is closed both ways.

Source:
    bpf/lib/endpoint.h.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from cilia.datapath import layout
from cilia.kernel.maps import Map


class EndpointEntry(msgspec.Struct, frozen=True):
    """One pod, as the programs see it."""

    id: int
    ifindex: int
    v4: ipaddress.IPv4Address | None
    v6: ipaddress.IPv6Address | None
    mac: str
    """Of the pod's interface."""
    host_mac: str
    """Of the host-side interface."""
    identity: int = 0
    policy: int = 0
    """Which rows of the policy map are its own."""
    generation: int = 0
    """Connections judged under another one are judged again."""
    ready: bool = False
    """False: nothing passes."""
    ingress_enforced: bool = False
    egress_enforced: bool = False
    audit: bool = False
    """A policy drop is reported, and passes."""

    @property
    def addresses(self) -> list[bytes]:
        """Its addresses in the kernel's form."""
        return [layout.encode_address(one) for one in (self.v4, self.v6) if one is not None]


class EndpointVerdict(msgspec.Struct, frozen=True):
    """What policy says of one pod."""

    ifindex: int
    identity: int
    policy: int
    generation: int
    ingress_enforced: bool
    egress_enforced: bool
    audit: bool
    ready: bool = True


_NOBODY = np.void(layout.NO_ADDRESS)
_FLAGS = {
    "ready": "ENDPOINT_READY",
    "ingress_enforced": "ENDPOINT_INGRESS_ENFORCED",
    "egress_enforced": "ENDPOINT_EGRESS_ENFORCED",
    "audit": "ENDPOINT_AUDIT",
}


def encode(entries: Sequence[EndpointEntry]) -> np.ndarray[Any, Any]:
    """Rows of `struct endpoint`, shape (n,)."""
    rows = np.zeros(len(entries), layout.struct("endpoint"))
    for row, one in zip(rows, entries, strict=True):
        row["v4"], row["v6"] = layout.encode_address(one.v4), layout.encode_address(one.v6)
        row["mac"], row["host_mac"] = layout.encode_mac(one.mac), layout.encode_mac(one.host_mac)
        for field in ("id", "identity", "ifindex", "policy", "generation"):
            row[field] = getattr(one, field)
        row["flags"] = _flags(one)
    return rows


def _flags(one: EndpointEntry | EndpointVerdict) -> int:
    return sum(layout.constant(flag) for field, flag in _FLAGS.items() if getattr(one, field))


def decode(row: Any) -> EndpointEntry:
    """One row of `struct endpoint` as a value."""
    v4, v6 = row["v4"].item(), row["v6"].item()
    flags = int(row["flags"])
    return EndpointEntry(
        v4=ipaddress.IPv4Address(v4[12:]) if v4 != layout.NO_ADDRESS else None,
        v6=ipaddress.IPv6Address(v6) if v6 != layout.NO_ADDRESS else None,
        mac=layout.decode_mac(row["mac"]),
        host_mac=layout.decode_mac(row["host_mac"]),
        id=int(row["id"]),
        identity=int(row["identity"]),
        ifindex=int(row["ifindex"]),
        policy=int(row["policy"]),
        generation=int(row["generation"]),
        **{field: bool(flags & layout.constant(flag)) for field, flag in _FLAGS.items()},
    )


class EndpointMap:
    """Both maps, kept alike."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._by_ifindex = maps["endpoint"]
        self._by_address = maps["endpoint_addr"]

    @property
    def capacity(self) -> int:
        """How many pods fit."""
        return self._by_ifindex.max_entries

    def write(self, entries: Sequence[EndpointEntry]) -> None:
        """Adds or replaces the rows of these pods, whole batches at a time.

        Raises:
            MapFullError: The node has more pods than the map has rows.
        """
        self._put(encode(entries))

    def _put(self, rows: np.ndarray[Any, Any]) -> None:
        self._by_ifindex.put(rows["ifindex"].copy(), rows)
        for family in ("v4", "v6"):
            have = rows[rows[family] != _NOBODY]
            self._by_address.put(have[family].copy(), have)

    def open(self, verdicts: Sequence[EndpointVerdict]) -> None:
        """Lets policy judge these pods from now on: one batch. Pods without a row are left out."""
        found, rows = self._by_ifindex.lookup_many([one.ifindex for one in verdicts])
        for field in ("identity", "policy", "generation"):
            rows[field] = [getattr(one, field) for one in verdicts]
        rows["flags"] = [_flags(one) for one in verdicts]
        self._put(rows[found])

    def read(self, ifindex: int) -> EndpointEntry | None:
        """The row of a host-side interface."""
        row = self._by_ifindex.lookup(ifindex)
        return None if row is None else decode(row)

    def delete(self, entries: Iterable[EndpointEntry]) -> None:
        """Removes pods' rows: closed from here on. An address that another has stays its."""
        for one in entries:
            self._by_ifindex.delete(one.ifindex)
            for address in one.addresses:
                row = self._by_address.lookup(address)
                if row is not None and int(row["id"]) == one.id:
                    self._by_address.delete(address)

    def entries(self) -> list[EndpointEntry]:
        """Every pod, by id."""
        return sorted((decode(row) for row in self._by_ifindex.entries()[1]), key=lambda o: o.id)

    def stray_addresses(self) -> list[bytes]:
        """Addresses whose row belongs to no pod of the other map, as a crash may leave them."""
        known = {entry.ifindex for entry in self.entries()}
        keys, rows = self._by_address.entries()
        return [key.item() for key, row in zip(keys, rows, strict=True)
                if int(row["ifindex"]) not in known]  # fmt: skip

    def delete_addresses(self, addresses: Iterable[bytes]) -> int:
        """Removes rows by address; how many there were."""
        return self._by_address.drop(np.frombuffer(b"".join(addresses), "V16"))
