"""Out of the node, up to it, and what only its stack can answer."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from bpf.harness import GATEWAY_MAC, HOST, HOST_MAC, NODE, ROUTER, C, Datapath, Result

A_CLASS = 7


def hops(packet: Packet) -> int:
    """TTL or hop limit."""
    return int(packet[IP].ttl if IP in packet else packet[IPv6].hlim)


def went_to_stack(result: Result) -> bool:
    """The frame is addressed to cilia_host, whose ingress it enters."""
    return result.action == "redirect" and result.packet.dst == HOST_MAC


def host_prefixes(pod: Datapath) -> None:
    """What the agent writes about its own node."""
    for address in (*NODE.values(), *ROUTER.values()):
        pod.prefix(address, HOST)


@pytest.mark.parametrize(
    "layer",
    [TCP(sport=40000, dport=443, flags="S"), UDP(sport=1000, dport=53)],
    ids=["tcp", "udp"],
)
def test_a_packet_for_the_world_takes_the_route(pod: Datapath, version: int, layer: Packet) -> None:
    packet = pod.frame(version, "a", "world") / layer

    result = pod.run("pod_from", packet)

    assert result.action == "redirect"
    assert result.trace_points == [C["TRACE_TO_NETWORK"]]
    (event,) = result.of_type("TRACE")
    assert event["destination_identity"] == {4: 9, 6: 10}[version]
    assert event["destination_endpoint"] == 0


def test_it_has_one_hop_less_and_a_right_checksum(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "a", "world") / UDP(sport=1000, dport=53)

    result = pod.run("pod_from", packet)

    assert hops(result.packet) == 63
    rebuilt = type(result.packet)(bytes(result.packet))
    if version == 4:
        del rebuilt[IP].chksum
    assert bytes(rebuilt) == bytes(result.packet)


def test_an_established_connection_stays_on_its_way(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "a", "world") / UDP(sport=1000, dport=53)

    results = [pod.run("pod_from", packet) for _ in range(3)]

    assert [hops(result.packet) for result in results] == [63, 63, 63]
    (connection,) = pod.connections()
    assert connection["packets"] == [3, 0]
    assert connection["destination_identity"] == {4: 9, 6: 10}[version]
    assert not connection["flags"] & C["CONNTRACK_INGRESS_JUDGED"]


@pytest.mark.parametrize("place", ["router", "node"])
def test_a_packet_for_the_node_enters_its_stack(pod: Datapath, version: int, place: str) -> None:
    host_prefixes(pod)
    packet = pod.frame(version, "a", place) / TCP(sport=40000, dport=22, flags="S")

    first, second = pod.run("pod_from", packet), pod.run("pod_from", packet)

    assert went_to_stack(first)
    assert first.packet.src == GATEWAY_MAC
    assert first.trace_points == [C["TRACE_TO_HOST"]]
    assert first.of_type("TRACE")[0]["destination_identity"] == HOST
    assert bytes(first.packet)[12:] == bytes(packet)[12:], "the node is no hop away"
    assert went_to_stack(second), "also what a known connection carries"


def test_egress_policy_holds_for_the_node(pod: Datapath, version: int) -> None:
    host_prefixes(pod)
    pod.enforce("a", "EGRESS_ENFORCED")
    pod.classify(HOST, A_CLASS)
    pod.rule(pod.a, "EGRESS", "DEFAULT_DENY")

    result = pod.run("pod_from", pod.frame(version, "a", "node") / UDP())

    assert result.drop_reason == C["DROP_POLICY_DENIED"]


def test_an_address_of_the_node_that_no_row_names_goes_to_its_stack(
    pod: Datapath, version: int
) -> None:
    result = pod.run("pod_from", pod.frame(version, "a", "node") / UDP())

    assert went_to_stack(result)
    assert result.trace_points == [C["TRACE_TO_STACK"]]


def test_an_address_of_our_pod_network_that_nobody_has_is_refused(
    pod: Datapath, version: int
) -> None:
    result = pod.run("pod_from", pod.frame(version, "a", "stranger") / UDP())

    assert result.drop_reason == C["DROP_STALE_OR_UNROUTABLE_IP"]


def test_where_no_route_leads_the_stack_answers(pod: Datapath, version: int) -> None:
    nowhere = {4: "192.0.2.1", 6: "2001:db8::1"}[version]

    result = pod.run("pod_from", pod.frame(version, "a", nowhere) / UDP())

    assert went_to_stack(result)
    assert hops(result.packet) == 64


@pytest.mark.parametrize("left", [0, 1])
def test_the_last_hop_is_answered_by_the_stack(pod: Datapath, version: int, left: int) -> None:
    field = {"ttl": left} if version == 4 else {"hlim": left}

    result = pod.run("pod_from", pod.frame(version, "a", "world", **field) / UDP())

    assert went_to_stack(result)
    assert hops(result.packet) == left


@pytest.mark.parametrize(
    ("length", "out"), [(1500, True), (1501, False)], ids=["fits", "a byte too much"]
)
def test_what_is_too_big_for_the_route_is_answered_by_the_stack(
    pod: Datapath, version: int, length: int, out: bool
) -> None:
    head = pod.frame(version, "a", "world") / UDP(sport=1000, dport=53)
    packet = head / (b"x" * (length + 14 - len(head)))

    result = pod.run("pod_from", packet)

    assert result.trace_points == [C["TRACE_TO_NETWORK" if out else "TRACE_TO_STACK"]]
    assert went_to_stack(result) != out


def test_a_large_segment_is_not_measured_as_a_whole(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "a", "world") / TCP(sport=40000, dport=80) / (b"x" * 3000)

    result = pod.run("pod_from", packet, gso_size=1400, gso_segs=3)

    assert result.trace_points == [C["TRACE_TO_NETWORK"]]


def test_a_pod_is_reached_whatever_the_size(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "a", "b") / UDP(sport=1, dport=2) / (b"x" * 2000)

    assert pod.run("pod_from", packet).packet.dst == pod.b.mac


def test_the_longest_prefix_names_the_destination(pod: Datapath, version: int) -> None:
    for network, identity in {
        4: [("1.0.0.0/8", 501), ("1.1.0.0/16", 502), ("1.1.1.1/32", 503), ("1.1.1.2/32", 504)],
        6: [("2606::/16", 501), ("2606:4700:4700::1111/128", 503), ("2606:4700::/32", 502)],
    }[version]:
        pod.prefix(network, identity)

    (event,) = pod.run("pod_from", pod.frame(version, "a", "world") / UDP()).of_type("TRACE")

    assert event["destination_identity"] == 503
