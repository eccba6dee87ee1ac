"""ipcache: which identity owns each prefix; the longest prefix wins.

Source:
    bpf/lib/ipcache.h.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cilia.datapath import layout
from cilia.kernel.maps import Map
from cilia.model.prefixes import PrefixKeys, as_bytes, as_keys, prefix_key

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class IpcacheEntry(msgspec.Struct, frozen=True):
    """Who owns a prefix."""

    prefix: Network
    identity: int
    policy_class: int = 0
    """0: it follows from the identity."""
    tunnel: ipaddress.IPv4Address | None = None
    """Node that hosts it; None: this one, or none."""
    flags: int = 0


def encode_keys(prefixes: PrefixKeys) -> NDArray[np.void]:
    """Keys of the map from sorted-form prefix keys, shape (n,), without a Python loop."""
    raw = as_bytes(prefixes)
    keys = np.zeros(len(raw), layout.map_types("ipcache")[0])
    keys["prefixlen"] = raw[:, 16]
    keys["addr"] = np.ascontiguousarray(raw[:, :16]).view("V16")[:, 0]
    return keys


def decode_keys(keys: NDArray[np.void]) -> PrefixKeys:
    """The other way: the map's keys as prefix keys, shape (n,)."""
    raw = np.zeros((len(keys), 17), np.uint8)
    if len(keys):
        raw[:, :16] = np.ascontiguousarray(keys["addr"]).view(np.uint8).reshape(-1, 16)
        raw[:, 16] = keys["prefixlen"]
    return as_keys(raw)


def decode_prefix(key: Any) -> Network:
    """The prefix of one key."""
    raw, bits = key["addr"].item(), int(key["prefixlen"])
    address = layout.decode_address(raw)
    if address.version == 4 and bits >= 96:
        return ipaddress.IPv4Network((raw[12:], bits - 96))
    return ipaddress.IPv6Network((raw, bits))


def encode(entries: Sequence[IpcacheEntry]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Keys and values of a batch."""
    packed = b"".join(prefix_key(one.prefix) for one in entries)
    values = np.zeros(len(entries), layout.struct("ipcache_entry"))
    values["identity"] = [one.identity for one in entries]
    values["class"] = [one.policy_class for one in entries]
    values["tunnel"] = [int(one.tunnel or 0) for one in entries]
    values["flags"] = [one.flags for one in entries]
    return encode_keys(np.frombuffer(packed, "S17")), values


def decode(key: Any, value: Any) -> IpcacheEntry:
    """One row as a value."""
    tunnel = int(value["tunnel"])
    return IpcacheEntry(
        prefix=decode_prefix(key),
        identity=int(value["identity"]),
        policy_class=int(value["class"]),
        tunnel=ipaddress.IPv4Address(tunnel) if tunnel else None,
        flags=int(value["flags"]),
    )


class IpcacheMap:
    """The map."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self.rows = maps["ipcache"]

    @property
    def capacity(self) -> int:
        """How many prefixes fit."""
        return self.rows.max_entries

    def write(self, entries: Sequence[IpcacheEntry]) -> None:
        """Adds or replaces prefixes.

        Raises:
            MapFullError: No room; addresses left out count as world, which no policy favours.
        """
        if entries:
            self.rows.put(*encode(entries))

    def write_columns(
        self,
        prefixes: PrefixKeys,
        identities: NDArray[np.uint32],
        classes: NDArray[np.uint32] | int = 0,
        tunnels: ArrayLike = 0,
    ) -> None:
        """The same for columns: 100,000 prefixes are a few array operations.

        Args:
            prefixes: Shape (n,).
            identities: Shape (n,).
            classes: Shape (n,); 0: it follows from the identity.
            tunnels: Shape (n,), IPv4 addresses of nodes as numbers; 0: none.
        """
        values = np.zeros(len(prefixes), self.rows.value)
        values["identity"], values["class"] = identities, classes
        values["tunnel"] = tunnels
        self.rows.put(encode_keys(prefixes), values)

    def delete(self, prefixes: Sequence[Network]) -> int:
        """Removes prefixes; how many there were."""
        packed = b"".join(map(prefix_key, prefixes))
        return self.delete_keys(np.frombuffer(packed, "S17"))

    def delete_keys(self, prefixes: PrefixKeys) -> int:
        """The same for prefix keys."""
        return self.rows.drop(encode_keys(prefixes))

    def columns(self) -> tuple[PrefixKeys, NDArray[np.uint32], NDArray[np.uint32]]:
        """Every prefix in columns, each of shape (n,): keys, identities, classes."""
        keys, values = self.rows.entries()
        return decode_keys(keys), values["identity"].copy(), values["class"].copy()

    def entries(self) -> list[IpcacheEntry]:
        """Every prefix."""
        return [decode(key, value) for key, value in zip(*self.rows.entries(), strict=True)]
