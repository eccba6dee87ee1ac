"""Packets between pods, the node and the world, and the two hooks of the device between."""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPerror6,
    IPv6ExtHdrFragment,
    fragment6,
)
from scapy.packet import Packet

from bpf.harness import Datapath, Result

LEAVES = "next"
"""The action on a packet that goes on its way."""


def echo(version: int, number: int) -> Packet:
    """An echo request with an identifier."""
    return (ICMP(type=8, id=number) if version == 4 else ICMPv6EchoRequest(id=number)) / b"ping"


def transport(version: int, kind: str, port: int) -> Packet:
    """What a pod sends from a port, or with an identifier."""
    return {
        "tcp": TCP(sport=port, dport=80, flags="S"),
        "udp": UDP(sport=port, dport=53) / b"query",
        "echo": echo(version, port),
    }[kind]


def port_of(packet: Packet) -> int:
    """The source port or identifier of a packet."""
    for layer, field in ((TCP, "sport"), (UDP, "sport"), (ICMP, "id"), (ICMPv6EchoRequest, "id")):
        if layer in packet:
            return int(packet[layer].getfieldval(field))
    raise AssertionError(packet)


def reply(version: int, kind: str, port: int) -> Packet:
    """The answer to `transport`."""
    echoed = ICMP(type=0, id=port) if version == 4 else ICMPv6EchoReply(id=port)
    return {
        "tcp": TCP(sport=80, dport=port, flags="SA"),
        "udp": UDP(sport=53, dport=port) / b"answer",
        "echo": echoed / b"ping",
    }[kind]


def send(host: Datapath, packet: Packet | bytes) -> Result:
    """A frame through the egress of the device to the world."""
    return host.run("host_to_net", packet, device="eth0")


def receive(host: Datapath, packet: Packet | bytes) -> Result:
    """A frame through its ingress."""
    return host.run("host_from_net", packet, device="eth0")


def left_as(result: Result, expected: Packet) -> bool:
    """Whether the packet left, and scapy builds the very same, checksums and all."""
    assert result.action == LEAVES, result.drop_reason
    assert bytes(result.packet).hex() == bytes(expected).hex()
    return True


def hops(version: int, count: int = 64) -> dict[str, Any]:
    """A hop limit, under its name in scapy."""
    return {"ttl": count} if version == 4 else {"hlim": count}


def fragments(
    host: Datapath, version: int, source: str, destination: str, layers: Packet
) -> list[Packet]:
    """A datagram in pieces of 1400 bytes."""
    if version == 4:
        return list(fragment(host.frame(4, source, destination, id=77) / layers, 1400))
    whole = host.frame(6, source, destination) / IPv6ExtHdrFragment(id=77) / layers
    return list(fragment6(whole, 1414))


def reassemble(packets: list[Packet], version: int) -> bytes:
    """What the pieces carry, in order."""
    head = IP if version == 4 else IPv6ExtHdrFragment
    return b"".join(bytes(packet[head].payload) for packet in packets)


def unreachable(version: int) -> Packet:
    """The head of an ICMP error that says "port unreachable"."""
    return ICMP(type=3, code=3) if version == 4 else ICMPv6DestUnreach(code=4)


def quote(host: Datapath, version: int, source: str, destination: str) -> Packet:
    """The network header of a quoted packet."""
    layer = IPerror if version == 4 else IPerror6
    return layer(src=host.address(source, version), dst=host.address(destination, version))
