"""Frames that open a connection: what a policy is asked about, as bytes.

Source:
    RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 9260, RFC 792, RFC 4443.
"""

import ipaddress
import struct

from cilia.model.ports import ICMP_V4, ICMP_V6, PROTOCOLS
from cilia.policy.decision import Ports

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_ETHERNET = {4: b"\x08\x00", 6: b"\x86\xdd"}
_SYN = 0x5002
"""Header of five words, SYN alone."""
_TTL = 64
_V6_FIRST_QUERY = 128
_V6_NEIGHBOURS = range(133, 138)
_V4_ERRORS = (3, 4, 5, 11, 12)


def opens_connection(ports: Ports) -> bool:
    """False for ICMP errors and neighbour discovery, which no policy is asked about alone."""
    if ports.protocol == ICMP_V4:
        return ports.port not in _V4_ERRORS
    if ports.protocol == ICMP_V6:
        return ports.port >= _V6_FIRST_QUERY and ports.port not in _V6_NEIGHBOURS
    return True


def opening_frame(
    source: Address, destination: Address, ports: Ports, source_port: int, gateway_mac: bytes
) -> bytes:
    """An Ethernet frame with the first packet of a connection; transport checksums are zero.

    Args:
        source: Sender.
        destination: Receiver, of the same IP version.
        ports: Protocol, and port or ICMP type at the destination.
        source_port: ICMP: the identifier.
        gateway_mac: Where pods send to, 6 bytes.
    """
    payload = _transport(ports, source_port)
    if source.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, _TTL, ports.protocol, 0)
        whole = head + source.packed + destination.packed
        head = whole[:10] + _checksum(whole) + whole[12:]
    else:
        head = struct.pack("!IHBB", 6 << 28, len(payload), ports.protocol, _TTL)
        head += source.packed + destination.packed
    return gateway_mac + b"\x02" + bytes(5) + _ETHERNET[source.version] + head + payload


def _transport(ports: Ports, source_port: int) -> bytes:
    if ports.protocol in (ICMP_V4, ICMP_V6):
        return struct.pack("!BBHHH", ports.port, 0, 0, source_port, 1)
    if ports.protocol == PROTOCOLS["TCP"]:
        return struct.pack("!HHIIHHHH", source_port, ports.port, 1, 0, _SYN, 65535, 0, 0)
    if ports.protocol == PROTOCOLS["UDP"]:
        return struct.pack("!HHHH", source_port, ports.port, 8, 0)
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
    return struct.pack("!HHII", source_port, ports.port, 0, 0) + init


def _checksum(head: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(head) // 2}H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
