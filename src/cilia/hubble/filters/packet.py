"""Fields about the packet: addresses, ports, protocol, flags, verdict, direction."""

import ipaddress
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.columns import DROPPED, UNKNOWN, halves_of
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
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.sockets import of_sockets
from cilia.hubble.store import Rows

PROTOCOLS = {
    "icmp": (1, 58), "icmpv4": (1,), "icmpv6": (58,), "tcp": (6,), "udp": (17,), "sctp": (132,),
    "igmp": (), "vrrp": (), "dns": (), "http": (), "kafka": (),
}  # fmt: skip
"""Numbers of those that flows carry; for the rest there are no flows yet."""
WITH_PORTS = (6, 17, 132)
V4_LOW = 0xFFFF << 32


def uuid(values: Sequence[str], scene: Scene) -> Test:
    """Flows by their UUIDs."""
    numbers = [number_of(scene.store.instance, value) for value in values]
    wanted = np.array([number for number in numbers if number is not None], dtype="i8")
    return lambda rows: np.isin(np.arange(rows.first, rows.first + len(rows)), wanted)


def ip(side: str, values: Sequence[str]) -> Test:
    """One side's address: itself or a prefix that holds it."""
    tests = [_prefix(side, value) for value in values]
    return all_of((any_of(tests), lambda rows: np.not_equal(rows["ip"], 0)))


def _prefix(side: str, value: str) -> Test:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise InvalidFilterError(f"{side}_ip {value!r}: {error}") from error
    first, length = int(network.network_address), network.prefixlen
    v4 = network.version == 4
    if v4:
        first, length = first | V4_LOW, length + 96
    bits = (1 << 128) - (1 << 128 - length)
    mask, wanted = _raw(bits), _raw(first & bits)
    spares_v4 = not v4 and V4_LOW & bits == first & bits  # ::/0 holds no address of IPv4
    spares_nobody = first & bits == 0  # nor that of a caller who is not known

    def test(rows: Rows) -> Mask:
        halves = halves_of(rows[side])
        found: Mask = (halves[:, 0] & mask[0]) == wanted[0]
        found &= (halves[:, 1] & mask[1]) == wanted[1]
        if spares_nobody:
            found &= halves.any(axis=1) | ~of_sockets(rows)
        return found & ~_is_v4(halves) if spares_v4 else found

    return test


def _raw(number: int) -> NDArray[np.uint64]:
    """A number of 128 bits as an address lies in memory."""
    return np.frombuffer(number.to_bytes(16), np.uint64)


V4_MASK, V4_WANTED = _raw((1 << 128) - (1 << 32)), _raw(V4_LOW)


def _is_v4(halves: NDArray[np.uint64]) -> Mask:
    high: Mask = (halves[:, 0] & V4_MASK[0]) == V4_WANTED[0]
    low: Mask = (halves[:, 1] & V4_MASK[1]) == V4_WANTED[1]
    return high & low


def port(side: str, values: Sequence[str]) -> Test:
    """One side's port."""
    ports = among(f"{side}_port", [checked_port(f"{side}_port", value) for value in values])
    return all_of((ports, among("protocol", WITH_PORTS)))


def checked_port(field: str, value: str) -> int:
    """The number of a port.

    Raises:
        InvalidFilterError: It is none.
    """
    if not (value.isascii() and value.isdigit() and int(value) <= 0xFFFF):
        raise InvalidFilterError(f"{field} {value!r}: wants a number from 0 to 65535")
    return int(value)


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
        wanted = [
            index
            for index in names
            for value in values
            if value.index in (0, index) and value.name in ("", names.get(index, ""))
        ]
        traced: Mask = (rows["ifindex"] != 0) & (rows["type"] == TRACE)
        return traced & np.isin(rows["ifindex"], wanted)

    return test


def encrypted(values: Sequence[bool]) -> Test:
    """Nothing is encrypted yet."""
    return constant(False in values)
