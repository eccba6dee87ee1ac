"""From pod to pod of one node: straight in, both policies in one run, one connection."""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.sctp import SCTP
from scapy.packet import Packet

from bpf.harness import C, Datapath

TRANSPORTS = {
    "tcp": (TCP(sport=40000, dport=80, flags="S"), TCP(sport=80, dport=40000, flags="SA")),
    "udp": (UDP(sport=40000, dport=53) / b"query", UDP(sport=53, dport=40000) / b"answer"),
    "sctp": (SCTP(sport=40000, dport=80), SCTP(sport=80, dport=40000)),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_packet_goes_straight_into_the_other_pod(
    pod: Datapath, version: int, transport: str
) -> None:
    packet = pod.frame(version, "a", "b") / TRANSPORTS[transport][0]

    result = pod.run("pod_from", packet)

    assert result.action == "redirect"
    assert (result.packet.dst, result.packet.src) == (pod.b.mac, pod.b.host_mac)
    assert bytes(result.packet)[12:] == bytes(packet)[12:], "only the MACs change"
    assert result.trace_points == [C["TRACE_TO_ENDPOINT"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_both_directions_are_one_connection(pod: Datapath, version: int, transport: str) -> None:
    asks, answers = TRANSPORTS[transport]
    there = pod.frame(version, "a", "b") / asks
    back = pod.frame(version, "b", "a") / answers

    pod.run("pod_from", there)
    pod.run("pod_from", there)
    result = pod.run("pod_from", back, device="lxcb")

    assert result.action == "redirect"
    assert result.packet.dst == pod.a.mac
    (connection,) = pod.connections()
    assert connection["packets"] == [2, 1]
    assert connection["bytes"] == [2 * len(there), len(back)]
    assert connection["source_identity"] == pod.a.identity
    assert connection["destination_identity"] == pod.b.identity
    assert connection["flags"] & C["CONNTRACK_SEEN_REPLY"]
    assert connection["flags"] & C["CONNTRACK_EGRESS_JUDGED"]
    assert connection["flags"] & C["CONNTRACK_INGRESS_JUDGED"]


def test_the_event_of_a_new_connection_names_both_ends(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "a", "b") / TCP(sport=40000, dport=80, flags="S")

    (event,) = pod.run("pod_from", packet).events

    assert (event["source_port"], event["destination_port"], event["protocol"]) == (40000, 80, 6)
    assert (event["source_identity"], event["destination_identity"]) == (1000, 2000)
    assert (event["source_endpoint"], event["destination_endpoint"]) == (10, 20)
    assert event["reason"] == C["TRACE_REASON_NEW"]
    assert event["verdict"] == C["EVENT_FORWARDED"]
    assert event["tcp_flags"] == 2
    assert event["length"] == len(packet)
    assert event["ifindex"] == pod.a.device


def test_who_has_no_row_sends_nothing(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "a", "b") / UDP()
    pod.remove("a")

    assert pod.run("pod_from", packet).drop_reason == C["DROP_EP_NOT_READY"]


def test_who_is_not_ready_sends_nothing(pod: Datapath, version: int) -> None:
    pod.write(pod.a.with_flags(0))

    result = pod.run("pod_from", pod.frame(version, "a", "b") / UDP())

    assert result.drop_reason == C["DROP_EP_NOT_READY"]
    assert pod.counted(C["DROP_EP_NOT_READY"], "EGRESS")[0] == 1


def test_who_is_not_ready_receives_nothing(pod: Datapath, version: int) -> None:
    pod.write(pod.b.with_flags(0))

    result = pod.run("pod_from", pod.frame(version, "a", "b") / UDP())

    assert result.drop_reason == C["DROP_EP_NOT_READY"]
    assert pod.counted(C["DROP_EP_NOT_READY"], "INGRESS")[0] == 1
    assert pod.connections() == []


@pytest.mark.parametrize("source", ["b", "world", "router", "stranger"])
def test_a_pod_sends_under_its_own_address_only(pod: Datapath, version: int, source: str) -> None:
    result = pod.run("pod_from", pod.frame(version, source, "b") / UDP())

    assert result.drop_reason == C["DROP_INVALID_SOURCE_IP"]
    assert pod.connections() == []


def test_a_pod_without_an_address_in_a_family_sends_nothing_in_it(pod: Datapath) -> None:
    zero = {4: "10.0.1.10", 6: "::"}
    pod.enforce("a", address=zero)

    result = pod.run("pod_from", pod.frame(6, "::", "b") / UDP())

    assert result.action == "drop"


def test_forwarded_packets_are_counted_on_both_sides(pod: Datapath, version: int) -> None:
    packet: Packet = pod.frame(version, "a", "b") / UDP() / (b"x" * 100)

    pod.run("pod_from", packet)
    pod.run("pod_from", packet)

    assert pod.counted(0, "EGRESS") == (2, 2 * len(packet))
    assert pod.counted(0, "INGRESS") == (2, 2 * len(packet))
