"""Fields about the packet: addresses, ports, protocol, flags, verdict, direction."""

import ipaddress
from collections.abc import Sequence
from typing import Any

import numpy as np

from cilia.hubble.columns import DROPPED, UNKNOWN
from cilia.hubble.events import TRACE
from cilia.hubble.filters.terms import (
    InvalidFilterError,
    Mask,
    Scene,
    Test,
    all_of,
    among,
    any_of,
    constant,
)  # fmt: skip
from cilia.hubble.flows import FLAG_NAMES, number_of
from cilia.hubble.parties import address_halves
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import Rows

PROTOCOLS = {
    "icmp": (1, 58), "icmpv4": (1,), "icmpv6": (58,), "tcp": (6,), "udp": (17,), "sctp": (132,),
    "igmp": (), "vrrp": (), "dns": (), "http": (), "kafka": (),
}  # fmt: skip
"""Numbers of those that flows carry; for the rest there are no flows yet."""
WITH_PORTS = (6, 17, 132)
V4_HIGH, V4_LOW = 0, 0xFFFF << 32
HALF = (1 << 64) - 1


def uuid(values: Sequence[str], scene: Scene) -> Test:
    """Flows by their UUIDs."""
    numbers = [number_of(scene.store.instance, value) for value in values]
    wanted = np.array([number for number in numbers if number is not None], dtype="i8")
    return lambda rows: np.isin(np.arange(rows.first, rows.first + len(rows)), wanted)


def has_ip(rows: Rows) -> Mask:
    """Whether a flow is of IP: a packet that could not be read has no addresses."""
    halves = (address_halves(rows[side]) for side in ("source", "destination"))
    found: Mask = np.logical_or(*((half != 0).any(axis=1) for half in halves))
    return found


def ip(side: str, values: Sequence[str]) -> Test:
    """One side's address: itself or a prefix that holds it."""
    tests = [_prefix(side, value) for value in values]
    return all_of((any_of(tests), has_ip))


def _prefix(side: str, value: str) -> Test:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise InvalidFilterError(f"{side}_ip {value!r}: {error}") from error
    first, length = int(network.network_address), network.prefixlen
    v4 = network.version == 4
    if v4:
        first, length = first | V4_LOW, length + 96
    mask = (1 << 128) - (1 << 128 - length)
    masks = np.array([mask >> 64, mask & HALF], "u8")
    wanted = np.array([(first & mask) >> 64, first & mask & HALF], "u8")

    def test(rows: Rows) -> Mask:
        halves = address_halves(rows[side])
        found: Mask = ((halves & masks) == wanted).all(axis=1)
        return found if v4 else found & ~_is_v4(halves)

    return test


def _is_v4(halves: Any) -> Mask:
    found: Mask = (halves[:, 0] == V4_HIGH) & (halves[:, 1] >> np.uint64(32) == 0xFFFF)
    return found


def ip_version(values: Sequence[int]) -> Test:
    """The version of IP; IP_NOT_USED for what is not IP."""
    wanted = set(values)

    def test(rows: Rows) -> Mask:
        used, v4 = has_ip(rows), _is_v4(address_halves(rows["source"]))
        version = np.where(used, np.where(v4, flow_pb2.IPv4, flow_pb2.IPv6), 0)
        return np.isin(version, sorted(wanted))

    return test


def port(side: str, values: Sequence[str]) -> Test:
    """One side's port."""
    for value in values:
        if not (value.isascii() and value.isdigit() and int(value) <= 0xFFFF):
            raise InvalidFilterError(f"{side}_port {value!r}: wants a number from 0 to 65535")
    ports = among(f"{side}_port", (int(value) for value in values))
    return all_of((ports, among("protocol", WITH_PORTS)))


def protocol(values: Sequence[str]) -> Test:
    """The protocol by name."""
    numbers: set[int] = set()
    for value in values:
        if value.lower() not in PROTOCOLS:
            names = ", ".join(PROTOCOLS)
            raise InvalidFilterError(f"protocol {value!r}: unknown; there are {names}")
        numbers.update(PROTOCOLS[value.lower()])
    return among("protocol", numbers) if numbers else constant(False)


def tcp_flags(values: Sequence[flow_pb2.TCPFlags]) -> Test:
    """All flags of one entry; a packet may have more."""
    return all_of((any_of(map(_flags, values)), among("protocol", (6,))))


def _flags(value: flow_pb2.TCPFlags) -> Test:
    if value.NS:  # not in the byte of flags that records carry
        return constant(False)
    bits = np.uint8(sum(getattr(value, name) << bit for bit, name in enumerate(FLAG_NAMES)))
    return lambda rows: np.equal(rows["tcp_flags"] & bits, bits)


def reply(values: Sequence[bool]) -> Test:
    """Whether it is a reply; a drop counts as none, what is not known never matches."""
    wanted = sorted({int(value) for value in values})

    def test(rows: Rows) -> Mask:
        column = rows["reply"]
        dropped = (column == UNKNOWN) & (rows["flow_verdict"] == DROPPED)
        return np.isin(np.where(dropped, 0, column), wanted)

    return test


def drop_reason(values: Sequence[int]) -> Test:
    """Why it was dropped."""
    known = [value for value in values if value]
    tests = [among("drop_reason", known)] if known else []
    if 0 in values:
        tests.append(lambda rows: ~np.isin(rows["drop_reason"], flow_pb2.DropReason.values()[1:]))
    return all_of((any_of(tests), among("flow_verdict", (DROPPED,))))


def event_type(values: Sequence[flow_pb2.EventTypeFilter]) -> Test:
    """What reported it; type 0 is any."""
    return any_of(map(_event_type, values))


def _event_type(value: flow_pb2.EventTypeFilter) -> Test:
    tests = [among("type", (value.type,))] if value.type else []
    if value.match_sub_type:
        tests.append(among("sub_type", (value.sub_type,)))
    return all_of(tests)


def interface(values: Sequence[flow_pb2.NetworkInterface], scene: Scene) -> Test:
    """The device where a trace was made, by index, name or both."""
    names = scene.store.interfaces

    def test(rows: Rows) -> Mask:
        seen = np.unique(rows["ifindex"]).tolist()
        wanted = [
            index
            for index in seen
            for value in values
            if value.index in (0, index) and value.name in ("", names.get(index, ""))
        ]
        traced: Mask = (rows["ifindex"] != 0) & (rows["type"] == TRACE)
        return traced & np.isin(rows["ifindex"], wanted)

    return test


def encrypted(values: Sequence[bool]) -> Test:
    """Nothing is encrypted yet."""
    return constant(False in values)
