"""Links, addresses, routes and neighbours: requests, and the rows of a listing.

Pure but for the listings: a request says what to do, `NetlinkSocket.commit` does it.

Source:
    rtnetlink(7); Linux include/uapi/linux/{if_link,if_addr,rtnetlink,neighbour,veth}.h.
"""

import socket
import struct
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
)

import msgspec

from cilia.kernel.netlink import (
    CREATE,
    EXCL,
    MISSING,
    PRESENT,
    REPLACE,
    NetlinkSocket,
    Request,
    attribute,
    attributes,
    nested,
)

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _GETADDR = 20, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_UP = 1
_NO_ARP = 0x80
_NAMES = 15
_MAIN_TABLE, _PROTO_BOOT, _PROTO_STATIC = 254, 3, 4
_SCOPE_GLOBAL, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_UNICAST = 1
_NO_DAD = 2
_PERMANENT = 0x80


class LinkRow(msgspec.Struct, frozen=True):
    """A network device."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    """Set up by its administrator."""
    kind: str
    """veth, dummy, bridge …; empty for hardware and lo."""
    peer: int
    """ifindex of the other end, perhaps in another namespace; 0: none."""
    master: int
    """ifindex of the bridge it is a port of; 0: none."""


class RouteRow(msgspec.Struct, frozen=True):
    """A route of the main table."""

    destination: Network
    via: Address | None
    device: int
    """ifindex; 0: none (blackhole)."""
    source: Address | None
    protocol: int


def mac_bytes(mac: str) -> bytes:
    """The 6 bytes of "02:00:00:00:00:01"."""
    return bytes.fromhex(mac.replace(":", ""))


def mac_text(raw: bytes) -> str:
    """Bytes as "02:00:00:00:00:01"."""
    return raw.hex(":")


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("<BxHiII", 0, 0, index, flags, change)


def _address_family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _checked_name(name: str) -> str:
    if not name or len(name.encode()) > _NAMES or "/" in name or name in (".", ".."):
        raise ValueError(f"device name {name!r}: 1 to {_NAMES} bytes and no slash")
    return name


class VethEnd(msgspec.Struct, frozen=True):
    """One side of a veth pair."""

    name: str
    mac: str
    namespace: int | None = None
    """File descriptor of the network namespace it shall live in; None: the socket's."""


def create_veth(end: VethEnd, peer: VethEnd, mtu: int) -> Request:
    """Makes a pair, both sides down."""
    sides = [
        b"".join(
            [
                attribute(3, _checked_name(side.name)),
                attribute(1, mac_bytes(side.mac)),
                attribute(4, mtu),
                attribute(28, side.namespace) if side.namespace is not None else b"",
            ]
        )
        for side in (end, peer)
    ]
    inside = nested(18, attribute(1, "veth"), nested(2, nested(1, _link(), sides[1])))
    body = _link() + sides[0] + inside
    return Request(_NEWLINK, CREATE | EXCL, body, f"create veth {end.name}")


def delete_link(name: str) -> Request:
    """Removes a device, and with a veth its peer; it may be gone already."""
    body = _link() + attribute(3, name)
    return Request(_DELLINK, 0, body, f"delete link {name}", MISSING)


def set_link(
    index: int,
    *,
    up: bool | None = None,
    arp: bool | None = None,
    mtu: int | None = None,
    mac: str = "",
    name: str = "",
    master: int | None = None,
) -> Request:
    """Changes a device; what is not given stays. Without `arp` nobody is asked for a MAC."""
    changed = (0 if up is None else _UP) | (0 if arp is None else _NO_ARP)
    body = _link(index, (_UP if up else 0) | (_NO_ARP if arp is False else 0), changed)
    body += attribute(4, mtu) if mtu is not None else b""
    body += attribute(1, mac_bytes(mac)) if mac else b""
    body += attribute(3, _checked_name(name)) if name else b""
    body += attribute(10, master) if master is not None else b""
    return Request(_NEWLINK, 0, body, f"change link {index}")


def disable_link_local(index: int) -> Request:
    """Stops IPv6 from giving the device an address of its own making; before it is up."""
    none = nested(26, nested(socket.AF_INET6, attribute(8, b"\1")))
    return Request(_NEWLINK, 0, _link(index) + none, f"change link {index}")


def add_address(index: int, interface: Interface) -> Request:
    """Gives a device an address, IPv6 without duplicate detection; it may be there already."""
    body = _interface(index, interface) + attribute(8, _NO_DAD)
    return Request(_NEWADDR, CREATE | REPLACE, body, f"add address {interface} to {index}", PRESENT)


def _interface(index: int, interface: Interface) -> bytes:
    bits, raw = interface.network.prefixlen, interface.ip.packed
    head = struct.pack("<BBBBI", _address_family(interface.ip), bits, 0, 0, index)
    return head + attribute(2, raw) + attribute(1, raw)


def add_route(
    destination: Network,
    index: int,
    *,
    via: Address | None = None,
    source: Address | None = None,
    mtu: int | None = None,
) -> Request:
    """A route through a device, in place of one to the same destination."""
    body = _route(destination, via is None)
    body += attribute(4, index)
    body += attribute(5, via.packed) if via is not None else b""
    body += attribute(7, source.packed) if source is not None else b""
    body += nested(8, attribute(2, mtu)) if mtu is not None else b""
    return Request(_NEWROUTE, CREATE | REPLACE, body, f"add route to {destination}")


def delete_route(destination: Network, index: int | None = None) -> Request:
    """Removes a route; it may be gone already."""
    head = struct.pack(
        "<BBBBBBBBI",
        _address_family(destination.network_address),
        destination.prefixlen,
        0,
        0,
        _MAIN_TABLE,
        0,
        _SCOPE_NOWHERE,
        0,
        0,
    )
    body = head + (attribute(1, destination.network_address.packed))
    body += attribute(4, index) if index is not None else b""
    return Request(_DELROUTE, 0, body, f"delete route to {destination}", MISSING)


def _route(destination: Network, on_link: bool) -> bytes:
    version4 = destination.version == 4
    scope = _SCOPE_LINK if on_link and version4 else _SCOPE_GLOBAL
    head = struct.pack(
        "<BBBBBBBBI",
        _address_family(destination.network_address),
        destination.prefixlen,
        0,
        0,
        _MAIN_TABLE,
        _PROTO_STATIC,
        scope,
        _UNICAST,
        0,
    )
    if destination.prefixlen == 0:
        return head
    return head + attribute(1, destination.network_address.packed)


def add_neighbour(index: int, address: Address, mac: str) -> Request:
    """A permanent neighbour, in place of what is known of the address."""
    head = struct.pack("<BxxxiHBB", _address_family(address), index, _PERMANENT, 0, 0)
    body = head + attribute(1, address.packed) + attribute(2, mac_bytes(mac))
    return Request(_NEWNEIGH, CREATE | REPLACE, body, f"add neighbour {address} on {index}")


def links(connection: NetlinkSocket) -> list[LinkRow]:
    """Every device of the socket's namespace."""
    return [
        _link_row(body) for body in connection.dump(Request(_GETLINK, 0, _link(), "list links"))
    ]


def link(connection: NetlinkSocket, name: str) -> LinkRow | None:
    """The device of that name, or None."""
    body = _link() + attribute(3, _checked_name(name))
    try:
        return _link_row(connection.ask(Request(_GETLINK, 0, body, f"find link {name}")))
    except OSError as error:
        if error.errno in MISSING:
            return None
        raise


def _link_row(body: bytes) -> LinkRow:
    _, _, index, flags, _ = struct.unpack_from("<BxHiII", body)
    found = attributes(body[16:])
    kind = attributes(found.get(18, b"")).get(1, b"")
    return LinkRow(
        index=index,
        name=found.get(3, b"").rstrip(b"\0").decode(errors="replace"),
        mac=mac_text(found.get(1, b"")),
        mtu=_number(found.get(4)),
        up=bool(flags & _UP),
        kind=kind.rstrip(b"\0").decode(),
        peer=_number(found.get(5)),
        master=_number(found.get(10)),
    )


def _number(raw: bytes | None) -> int:
    return int.from_bytes(raw, "little") if raw else 0


def addresses(connection: NetlinkSocket) -> list[tuple[int, Interface]]:
    """Every address of the socket's namespace, with the ifindex of its device."""
    rows: list[tuple[int, Interface]] = []
    head = struct.pack("<BBBBI", 0, 0, 0, 0, 0)
    for body in connection.dump(Request(_GETADDR, 0, head, "list addresses")):
        family, bits, _, _, index = struct.unpack_from("<BBBBI", body)
        found = attributes(body[8:])
        raw = found.get(2) or found.get(1, b"")
        if family == socket.AF_INET:
            rows.append((index, IPv4Interface((raw, bits))))
        elif family == socket.AF_INET6:
            rows.append((index, IPv6Interface((raw, bits))))
    return rows


def routes(connection: NetlinkSocket) -> list[RouteRow]:
    """The unicast routes of the main table, both families."""
    rows = []
    for family in (socket.AF_INET, socket.AF_INET6):
        head = struct.pack("<BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
        for body in connection.dump(Request(_GETROUTE, 0, head, "list routes")):
            _, bits, _, _, table, protocol, _, kind, _ = struct.unpack_from("<BBBBBBBBI", body)
            if table != _MAIN_TABLE or kind != _UNICAST:
                continue
            found = attributes(body[12:])
            size, network = (4, IPv4Network) if family == socket.AF_INET else (16, IPv6Network)
            rows.append(
                RouteRow(
                    destination=network((found.get(1, bytes(size)), bits)),
                    via=ip_address(found[5]) if 5 in found else None,
                    device=_number(found.get(4)),
                    source=ip_address(found[7]) if 7 in found else None,
                    protocol=protocol,
                )
            )
    return rows
