"""Masquerade: answers from the outside find their pod again."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, TCPerror, UDPerror
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from bpf.harness import C, Datapath, Result
from bpf.outside import (
    echo,
    fragments,
    hops,
    left_as,
    port_of,
    quote,
    reassemble,
    receive,
    reply,
    send,
    transport,
    unreachable,
)

ROUTER = {4: "198.51.100.1", 6: "2001:db8:1::1"}
"""Somewhere on the way."""
KINDS = ["tcp", "udp", "echo"]


def ask(host: Datapath, version: int, kind: str, port: int = 1000) -> int:
    """Pod a begins a connection; the port that it has outside."""
    return port_of(
        send(host, host.frame(version, "a", "world") / transport(version, kind, port)).packet
    )


def arrived_as(host: Datapath, result: Result, network: Packet) -> bool:
    """Whether a frame went straight into pod a, and scapy builds the very same."""
    assert result.action == "redirect", result.drop_reason
    frame = Ether(dst=host.a.mac, src=host.a.host_mac) / network
    assert bytes(result.packet).hex() == bytes(frame).hex()
    return True


def inner(host: Datapath, version: int, source: str, destination: str, **fields: int) -> Packet:
    """The network header as it arrives in a pod: one hop less."""
    layer = IP if version == 4 else IPv6
    addresses = {"src": host.address(source, version), "dst": host.address(destination, version)}
    return layer(**addresses, **hops(version, 63), **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_reaches_the_pod_on_its_own_port(host: Datapath, version: int, kind: str) -> None:
    port = ask(host, version, kind)

    answer = host.frame(version, "world", "node", **hops(version)) / reply(version, kind, port)

    expected = inner(host, version, "world", "a") / reply(version, kind, 1000)
    assert arrived_as(host, receive(host, answer), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_two_pods_get_each_its_own_answer(host: Datapath, version: int, kind: str) -> None:
    layers = transport(version, kind, 40000)
    outside = {
        pod: port_of(send(host, host.frame(version, pod, "world") / layers).packet) for pod in "ab"
    }

    for pod, port in outside.items():
        answer = host.frame(version, "world", "node") / reply(version, kind, port)
        assert receive(host, answer).packet.dst == getattr(host, pod).mac


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_asked_for_is_the_nodes(host: Datapath, version: int, kind: str) -> None:
    port = ask(host, version, kind)
    wrong_port = host.frame(version, "world", "node") / reply(version, kind, port ^ 1)
    wrong_peer = host.frame(version, ROUTER[version], "node") / reply(version, kind, port)

    for packet in (wrong_port, wrong_peer):
        assert left_as(receive(host, packet), packet)


@pytest.mark.parametrize("kind", KINDS)
def test_the_nodes_own_answers_stay_with_it(host: Datapath, version: int, kind: str) -> None:
    send(host, host.frame(version, "node", "world") / transport(version, kind, 40000))

    answer = host.frame(version, "world", "node") / reply(version, kind, 40000)

    assert left_as(receive(host, answer), answer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_that_gave_way_gets_its_port_back(host: Datapath, version: int, kind: str) -> None:
    ask(host, version, kind, 40000)
    mine = send(host, host.frame(version, "node", "world") / transport(version, kind, 40000))
    port = port_of(mine.packet)

    answer = host.frame(version, "world", "node") / reply(version, kind, port)

    assert port != 40000
    expected = host.frame(version, "world", "node") / reply(version, kind, 40000)
    assert left_as(receive(host, answer), expected)


def test_an_answer_outlives_half_of_its_mapping(host: Datapath, version: int) -> None:
    port = ask(host, version, "udp")
    nat = host.maps["nat"]
    keys, values = nat.entries()
    values["last_seen"] = 1
    nat.put(keys, values)
    nat.drop(keys[keys["direction"] == C["NAT_OUT"]])

    answer = host.frame(version, "world", "node") / reply(version, "udp", port)

    assert receive(host, answer).action == "redirect"
    assert nat.count() == 2
    assert ask(host, version, "udp") == port


def test_an_answer_on_its_last_hop_stays_outside(host: Datapath, version: int) -> None:
    port = ask(host, version, "udp")

    answer = host.frame(version, "world", "node", **hops(version, 1)) / reply(version, "udp", port)

    assert receive(host, answer).drop_reason == C["DROP_TTL_EXCEEDED"]


def test_an_answer_for_a_pod_that_went_goes_to_the_stack(host: Datapath, version: int) -> None:
    port = ask(host, version, "udp")
    host.remove("a")

    answer = host.frame(version, "world", "node") / reply(version, "udp", port)

    expected = host.frame(version, "world", "a") / reply(version, "udp", 1000)
    assert left_as(receive(host, answer), expected)


def test_an_answer_to_an_enforcing_pod_needs_its_connection(host: Datapath, version: int) -> None:
    host.enforce("a", "INGRESS_ENFORCED")
    host.rule(host.a, "INGRESS", "DEFAULT_DENY")
    host.classify({4: 9, 6: 10}[version], 5)
    port = ask(host, version, "udp")

    answer = host.frame(version, "world", "node") / reply(version, "udp", port)

    assert receive(host, answer).drop_reason == C["DROP_POLICY_DENIED"]


def quoted(version: int, kind: str, port: int) -> Packet:
    """`transport` as an ICMP error quotes it."""
    echoed = ICMPerror(type=8, id=port) if version == 4 else echo(6, port)
    return {
        "tcp": TCPerror(sport=port, dport=80, flags="S"),
        "udp": UDPerror(sport=port, dport=53) / b"query",
        "echo": echoed / b"ping" if version == 4 else echoed,
    }[kind]


ERRORS = {
    4: [ICMP(type=3, code=3), ICMP(type=3, code=4, nexthopmtu=1400), ICMP(type=11)],
    6: [unreachable(6), ICMPv6PacketTooBig(mtu=1400), ICMPv6TimeExceeded()],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(3), ids=["unreachable", "too-big", "time-exceeded"])
def test_an_error_reaches_the_pod_that_it_is_about(
    host: Datapath, version: int, kind: str, number: int
) -> None:
    port = ask(host, version, kind)
    head = ERRORS[version][number]
    network = host.frame(version, ROUTER[version], "node", **hops(version))

    error = network / head / quote(host, version, "node", "world") / quoted(version, kind, port)

    # Without the connection that pod_from keeps, policy would judge it: nobody enforces here.
    expected = (
        inner(host, version, ROUTER[version], "a")
        / head
        / quote(host, version, "a", "world")
        / quoted(version, kind, 1000)
    )
    assert arrived_as(host, receive(host, error), expected)


def test_an_error_that_quotes_eight_bytes_of_tcp_is_enough(host: Datapath) -> None:
    port = ask(host, 4, "tcp")
    network = host.frame(4, ROUTER[4], "node", **hops(4))
    lengths = {"len": 40, "proto": 6}

    def error(around: Packet, source: str, number: int) -> Packet:
        head = quote(host, 4, source, "world")
        head.len, head.proto = lengths["len"], lengths["proto"]
        return around / ICMP(type=11) / head / Raw(bytes(TCP(sport=number, dport=80))[:8])

    result = receive(host, error(network, "node", port))

    assert arrived_as(host, result, error(inner(host, 4, ROUTER[4], "a"), "a", 1000))


def test_a_quoted_udp_checksum_that_is_off_stays_off(host: Datapath) -> None:
    port = ask(host, 4, "udp")

    def error(around: Packet, source: str, number: int) -> Packet:
        head = around / ICMP(type=3, code=3) / quote(host, 4, source, "world")
        return head / UDPerror(sport=number, dport=53, chksum=0) / b"query"

    result = receive(host, error(host.frame(4, ROUTER[4], "node", **hops(4)), "node", port))

    assert arrived_as(host, result, error(inner(host, 4, ROUTER[4], "a"), "a", 1000))


def test_an_error_about_the_nodes_own_packet_stays_with_it(host: Datapath, version: int) -> None:
    send(host, host.frame(version, "node", "world") / transport(version, "udp", 40000))
    network = host.frame(version, ROUTER[version], "node")

    for port in (40000, 1000):
        error = (
            network
            / unreachable(version)
            / quote(host, version, "node", "world")
            / UDPerror(sport=port, dport=53)
        )
        assert left_as(receive(host, error), error)


def test_an_error_that_quotes_too_little_is_the_stacks(host: Datapath, version: int) -> None:
    ask(host, version, "udp")
    network = host.frame(version, ROUTER[version], "node")

    error = network / unreachable(version) / Raw(b"\x45\x00")

    assert left_as(receive(host, error), error)


def test_every_fragment_of_an_answer_reaches_the_pod(host: Datapath, version: int) -> None:
    port = ask(host, version, "udp")
    pieces = fragments(host, version, "world", "node", UDP(sport=53, dport=port) / Raw(b"y" * 3000))

    out = [receive(host, piece) for piece in pieces]

    assert [result.action for result in out] == ["redirect"] * 3
    assert {result.packet.dst for result in out} == {host.a.mac}
    datagram = UDP(reassemble([result.packet for result in out], version))
    fresh = inner(host, version, "world", "a") / UDP(sport=53, dport=1000) / Raw(b"y" * 3000)
    assert bytes(datagram) == bytes(type(fresh)(bytes(fresh))[UDP])


def test_a_fragment_whose_beginning_nobody_saw_is_the_nodes(host: Datapath, version: int) -> None:
    port = ask(host, version, "udp")
    later = fragments(host, version, "world", "node", UDP(sport=53, dport=port) / Raw(b"y" * 3000))[
        1
    ]

    assert left_as(receive(host, later), later)


def test_what_is_not_ip_passes(host: Datapath, version: int) -> None:
    assert receive(host, Ether() / ARP()).action == "next"
    cut = bytes(host.frame(version, "world", "node") / TCP())[:-10]
    assert bytes(receive(host, cut).packet) == cut


def test_an_echo_reply_that_the_node_sends_itself_is_left_alone(
    host: Datapath, version: int
) -> None:
    layers = ICMP(type=0, id=40000) if version == 4 else ICMPv6EchoReply(id=40000)
    answer = host.frame(version, "node", "world") / layers

    assert left_as(send(host, answer), answer)
    assert host.maps["nat"].count() == 0
