"""Masquerade: what pods and the node send to the outside, as it leaves."""

from collections.abc import Callable

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPOption_NOP, UDPerror
from scapy.layers.inet6 import ICMPv6EchoReply, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

from bpf.harness import C, Datapath
from bpf.outside import (
    LEAVES,
    echo,
    fragments,
    hops,
    left_as,
    port_of,
    quote,
    reassemble,
    receive,
    send,
    transport,
    unreachable,
)

LONG = UDP(sport=1000, dport=53) / Raw(b"x" * 3000)
"""A datagram that needs three packets."""


@pytest.mark.parametrize("kind", ["tcp", "udp", "echo"])
def test_a_pod_leaves_as_the_node_with_its_own_port(
    host: Datapath, version: int, kind: str
) -> None:
    layers = transport(version, kind, 40000)

    result = send(host, host.frame(version, "a", "world") / layers)

    assert left_as(result, host.frame(version, "node", "world") / layers)
    assert host.maps["nat"].count() == 2


@pytest.mark.parametrize("kind", ["tcp", "udp", "echo"])
def test_a_port_out_of_range_becomes_one_in_it_and_stays(
    host: Datapath, version: int, kind: str
) -> None:
    packet = host.frame(version, "a", "world") / transport(version, kind, 1000)

    first, second = send(host, packet), send(host, packet)

    port = port_of(first.packet)
    assert 32768 <= port <= 65535
    expected = host.frame(version, "node", "world") / transport(version, kind, port)
    assert left_as(first, expected)
    assert left_as(second, expected)
    assert host.maps["nat"].count() == 2


@pytest.mark.parametrize("kind", ["tcp", "udp", "echo"])
def test_no_two_pods_get_one_port(host: Datapath, version: int, kind: str) -> None:
    layers = transport(version, kind, 40000)

    ports = {port_of(send(host, host.frame(version, pod, "world") / layers).packet) for pod in "ab"}

    assert len(ports) == 2
    assert 40000 in ports


def test_ports_run_out_for_one_peer_and_not_for_another(
    load: Callable[..., Datapath], version: int
) -> None:
    host = load("host", nat_port_min=50000, nat_port_max=50001)
    there = [host.frame(version, "a", "world") / UDP(sport=port, dport=53) for port in (1, 2, 3)]

    first, second, third = (send(host, packet) for packet in there)

    assert {port_of(first.packet), port_of(second.packet)} == {50000, 50001}
    assert third.drop_reason == C["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"]
    assert third.events[0]["file"] == C["FILE_MASQUERADE"]
    assert host.counted(C["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"], "EGRESS")[0] == 1
    other = send(host, host.frame(version, "a", "world") / UDP(sport=3, dport=54))
    assert other.action == LEAVES


def test_an_empty_range_translates_nothing(load: Callable[..., Datapath], version: int) -> None:
    host = load("host", nat_port_min=2, nat_port_max=1)

    result = send(host, host.frame(version, "a", "world") / TCP())

    assert result.drop_reason == C["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"]


def test_a_reply_keeps_the_address_that_its_peer_knows(host: Datapath, version: int) -> None:
    asks = host.frame(version, "world", "a", **hops(version)) / TCP(sport=5555, dport=80)
    answers = host.frame(version, "a", "world") / TCP(sport=80, dport=5555, flags="SA")

    assert receive(host, asks).action == "redirect"

    assert left_as(send(host, answers), answers)
    assert host.maps["nat"].count() == 0


def test_an_echo_reply_keeps_the_address_that_its_peer_knows(host: Datapath, version: int) -> None:
    asks = host.frame(version, "world", "a", **hops(version)) / echo(version, 7)
    reply = ICMP(type=0, id=7) if version == 4 else ICMPv6EchoReply(id=7)
    answers = host.frame(version, "a", "world") / reply

    assert receive(host, asks).action == "redirect"

    assert left_as(send(host, answers), answers)


def test_the_pod_network_sees_pods_as_they_are(host: Datapath, version: int) -> None:
    other = {4: "10.0.2.7", 6: "fd00:10:0:2::7"}[version]
    packet = host.frame(version, "a", other) / TCP(sport=40000)

    assert left_as(send(host, packet), packet)
    assert host.maps["nat"].count() == 0


def test_masquerading_can_be_off(load: Callable[..., Datapath], version: int) -> None:
    host = load("host", **{f"masquerade_v{version}": 0})
    packet = host.frame(version, "a", "world") / TCP(sport=40000)

    assert left_as(send(host, packet), packet)


def test_a_protocol_without_ports_stays_inside(host: Datapath, version: int) -> None:
    packet = host.frame(version, "a", "world") / SCTP(sport=40000, dport=80)

    result = send(host, packet)

    assert result.drop_reason == C["DROP_UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE"]


def test_icmp_but_echo_stays_inside(host: Datapath) -> None:
    timestamp = host.frame(4, "a", "world") / ICMP(type=13)

    result = send(host, timestamp)

    assert result.drop_reason == C["DROP_UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE"]


def test_what_cannot_be_read_stays_inside(host: Datapath, version: int) -> None:
    cut = bytes(host.frame(version, "a", "world") / TCP())[:-10]
    unknown = host.frame(version, "a", "world", **{"proto" if version == 4 else "nh": 253})

    assert send(host, cut).drop_reason == C["DROP_INVALID_PACKET_DROPPED"]
    assert send(host, unknown).drop_reason == C["DROP_CT_UNKNOWN_L4_PROTOCOL"]


def test_the_node_sends_what_it_likes(host: Datapath, version: int) -> None:
    node = host.frame(version, "node", "world")
    packets = [
        node / TCP(sport=22),
        node / SCTP(sport=40000),
        host.frame(version, "node", "world", **{"proto" if version == 4 else "nh": 253}),
        Ether() / ARP(),
    ]

    for packet in packets:
        assert left_as(send(host, packet), packet)
    cut = bytes(node / TCP())[:-10]
    assert bytes(send(host, cut).packet) == cut
    assert host.maps["nat"].count() == 0


@pytest.mark.parametrize("kind", ["tcp", "udp", "echo"])
def test_no_pod_gets_a_port_that_the_node_uses(host: Datapath, version: int, kind: str) -> None:
    layers = transport(version, kind, 40000)
    mine = host.frame(version, "node", "world") / layers

    assert left_as(send(host, mine), mine)
    pods = send(host, host.frame(version, "a", "world") / layers)

    assert port_of(pods.packet) != 40000
    assert left_as(send(host, mine), mine)


@pytest.mark.parametrize("kind", ["tcp", "udp", "echo"])
def test_the_node_gives_way_to_a_pod_that_was_first(
    host: Datapath, version: int, kind: str
) -> None:
    layers = transport(version, kind, 40000)

    send(host, host.frame(version, "a", "world") / layers)
    mine = send(host, host.frame(version, "node", "world") / layers)

    port = port_of(mine.packet)
    assert port != 40000
    assert left_as(mine, host.frame(version, "node", "world") / transport(version, kind, port))


def test_a_udp_checksum_that_is_off_stays_off(host: Datapath) -> None:
    packet = host.frame(4, "a", "world") / UDP(sport=1000, dport=53, chksum=0) / b"query"

    result = send(host, packet)

    assert result.packet[UDP].chksum == 0
    assert result.packet[IP].src == host.address("node", 4)


def test_headers_between_network_and_transport_are_respected(host: Datapath, version: int) -> None:
    if version == 4:
        more = {"options": [IPOption_NOP() for _ in range(8)]}
        one, other = (host.frame(4, source, "world", **more) for source in ("a", "node"))
    else:
        one, other = (
            host.frame(6, source, "world") / IPv6ExtHdrDestOpt() for source in ("a", "node")
        )
    layers = UDP(sport=40000, dport=53) / b"query"

    assert left_as(send(host, one / layers), other / layers)


def test_every_fragment_leaves_as_the_node(host: Datapath, version: int) -> None:
    pieces = fragments(host, version, "a", "world", LONG)

    out = [send(host, piece).packet for piece in pieces]

    assert len(out) == 3
    layer = IP if version == 4 else IPv6
    assert {piece[layer].src for piece in out} == {host.address("node", version)}
    datagram = host.frame(version, "node", "world") / UDP(reassemble(out, version))
    port = datagram[UDP].sport
    assert 32768 <= port <= 65535
    fresh = host.frame(version, "node", "world") / UDP(sport=port, dport=53) / Raw(b"x" * 3000)
    assert bytes(datagram[UDP]) == bytes(Ether(bytes(fresh))[UDP])


def test_a_fragment_whose_beginning_nobody_saw_stays_inside(host: Datapath, version: int) -> None:
    later = fragments(host, version, "a", "world", LONG)[1]

    result = send(host, later)

    assert result.drop_reason == C["DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"]


def test_a_pods_error_about_an_answer_shows_only_the_node(host: Datapath, version: int) -> None:
    asks = host.frame(version, "a", "world") / UDP(sport=1000, dport=53) / b"query"
    port = port_of(send(host, asks).packet)
    error = (
        host.frame(version, "a", "world")
        / unreachable(version)
        / quote(host, version, "world", "a")
        / UDPerror(sport=53, dport=1000)
        / b"answer"
    )

    expected = (
        host.frame(version, "node", "world")
        / unreachable(version)
        / quote(host, version, "world", "node")
        / UDPerror(sport=53, dport=port)
        / b"answer"
    )
    assert left_as(send(host, error), expected)


def test_a_pods_error_about_a_question_keeps_its_address(host: Datapath, version: int) -> None:
    asks = host.frame(version, "world", "a", **hops(version)) / UDP(sport=5555, dport=53)
    assert receive(host, asks).action == "redirect"
    error = (
        host.frame(version, "a", "world")
        / unreachable(version)
        / quote(host, version, "world", "a")
        / UDPerror(sport=5555, dport=53)
    )

    assert left_as(send(host, error), error)


def test_a_pods_error_about_nothing_known_stays_inside(host: Datapath, version: int) -> None:
    error = (
        host.frame(version, "a", "world")
        / unreachable(version)
        / quote(host, version, "world", "a")
        / UDPerror(sport=5555, dport=53)
    )

    assert send(host, error).drop_reason == C["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"]


def test_quoted_icmp_is_told_from_its_identifier(host: Datapath) -> None:
    send(host, host.frame(4, "a", "world") / ICMP(type=8, id=1000))
    port = port_of(send(host, host.frame(4, "a", "world") / ICMP(type=8, id=1000)).packet)
    error = (
        host.frame(4, "a", "world")
        / ICMP(type=11)
        / quote(host, 4, "world", "a")
        / ICMPerror(type=0, id=1000)
    )

    expected = (
        host.frame(4, "node", "world")
        / ICMP(type=11)
        / quote(host, 4, "world", "node")
        / ICMPerror(type=0, id=port)
    )
    assert left_as(send(host, error), expected)
