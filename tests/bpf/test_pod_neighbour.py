"""A pod asks for its gateway's MAC, and gets it from eBPF; it learns and claims nothing else."""

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from bpf.harness import GATEWAY_MAC, ROUTER, C, Datapath


def who_has(pod: Datapath, target: str, **fields: object) -> Packet:
    """An ARP request of pod a."""
    mac = pod.a.mac
    return Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
        hwsrc=mac, psrc=pod.a.address[4], pdst=target, **fields
    )


def solicitation(pod: Datapath, target: str, option: bool = True, **fields: object) -> Packet:
    """A neighbour solicitation of pod a."""
    head = Ether(src=pod.a.mac, dst="33:33:ff:00:00:01") / IPv6(
        **({"src": pod.a.address[6], "dst": "ff02::1:ff00:1", "hlim": 255} | fields)
    )
    message = head / ICMPv6ND_NS(tgt=target)
    return message / ICMPv6NDOptSrcLLAddr(lladdr=pod.a.mac) if option else message


def test_the_gateway_answers_arp(pod: Datapath) -> None:
    result = pod.run("pod_from", who_has(pod, ROUTER[4]))

    assert result.action == "redirect"
    assert (result.packet.dst, result.packet.src) == (pod.a.mac, GATEWAY_MAC)
    answer = result.packet[ARP]
    assert answer.op == 2
    assert (answer.hwsrc, answer.psrc) == (GATEWAY_MAC, ROUTER[4])
    assert (answer.hwdst, answer.pdst) == (pod.a.mac, pod.a.address[4])


def test_a_pod_that_is_not_ready_finds_its_gateway(pod: Datapath) -> None:
    pod.remove("a")

    assert pod.run("pod_from", who_has(pod, ROUTER[4])).action == "redirect"


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("10.0.1.20", {}),
        ("10.0.1.10", {}),
        ("0.0.0.0", {}),
        (ROUTER[4], {"op": 2}),
        (ROUTER[4], {"hwtype": 6}),
        (ROUTER[4], {"ptype": 0x86DD}),
    ],
)
def test_no_other_arp_is_answered(pod: Datapath, target: str, fields: dict[str, int]) -> None:
    result = pod.run("pod_from", who_has(pod, target, **fields))

    assert result.drop_reason == C["DROP_UNSUPPORTED_L2_PROTOCOL"]


def test_short_arp_is_refused(pod: Datapath) -> None:
    result = pod.run("pod_from", bytes(who_has(pod, ROUTER[4]))[:40])

    assert result.drop_reason == C["DROP_INVALID_PACKET_DROPPED"]


@pytest.mark.parametrize("option", [True, False], ids=["asking", "probing"])
def test_the_gateway_answers_neighbour_discovery(pod: Datapath, option: bool) -> None:
    result = pod.run("pod_from", solicitation(pod, ROUTER[6], option))

    assert result.action == "redirect"
    assert (result.packet.dst, result.packet.src) == (pod.a.mac, GATEWAY_MAC)
    ip, answer = result.packet[IPv6], result.packet[ICMPv6ND_NA]
    assert (ip.src, ip.dst, ip.hlim, ip.plen) == (ROUTER[6], pod.a.address[6], 255, 32)
    assert (answer.tgt, answer.S, answer.O, answer.R) == (ROUTER[6], 1, 1, 0)
    assert result.packet[ICMPv6NDOptDstLLAddr].lladdr == GATEWAY_MAC
    assert answer.cksum == _checksum(result.packet), "the checksum is right"


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("fd00:10:0:1::20", {}),
        ("fd00:10:0:1::10", {"src": "::", "dst": ROUTER[6]}),
        (ROUTER[6], {"src": "::", "dst": ROUTER[6]}),
        (ROUTER[6], {"hlim": 254}),
        ("::", {}),
    ],
)
def test_no_other_solicitation_is_answered(
    pod: Datapath, target: str, fields: dict[str, object]
) -> None:
    result = pod.run("pod_from", solicitation(pod, target, **fields))

    assert result.drop_reason == C["DROP_FORBIDDEN_ICMPV6_MESSAGE"]


@pytest.mark.parametrize(
    "message",
    [
        ICMPv6ND_RA(),
        ICMPv6ND_NA(tgt="fd00:10:0:1::20"),
        ICMPv6ND_Redirect(),
        ICMPv6MLQuery(),
    ],
    ids=["router", "advertisement", "redirect", "query"],
)
def test_talk_of_the_link_stays_in_the_pod(pod: Datapath, message: Packet) -> None:
    packet = Ether(dst="33:33:00:00:00:02") / IPv6(src="fe80::1", dst="ff02::2", hlim=255) / message

    result = pod.run("pod_from", packet)

    assert result.drop_reason == C["DROP_FORBIDDEN_ICMPV6_MESSAGE"]


ANNOUNCEMENTS = [
    pytest.param(ICMPv6ND_RS(), id="router-solicitation"),
    pytest.param(ICMPv6MLReport(), id="report"),
    pytest.param(ICMPv6MLDone(), id="done"),
    pytest.param(ICMPv6MLReport2(), id="report2"),
    pytest.param(ICMPv6ND_NS(tgt="fe80::1"), id="probe"),
]


@pytest.mark.parametrize("message", ANNOUNCEMENTS)
def test_what_a_starting_pod_announces_is_no_drop(pod: Datapath, message: Packet) -> None:
    hop = IPv6ExtHdrHopByHop(options=[RouterAlert()])
    for head in (
        Ether() / IPv6(src="::", dst="ff02::16"),
        Ether() / IPv6(src="::", dst="ff02::16") / hop,
    ):
        result = pod.run("pod_from", head / message)

        assert result.action == "drop", "it goes nowhere"
        assert result.events == [], "and nobody is told"


@pytest.mark.parametrize("message", ANNOUNCEMENTS)
def test_an_announcement_to_one_receiver_is_refused(pod: Datapath, message: Packet) -> None:
    packet = Ether() / IPv6(src="::", dst=pod.b.address[6]) / message

    result = pod.run("pod_from", packet)

    assert result.drop_reason == C["DROP_FORBIDDEN_ICMPV6_MESSAGE"]


def test_a_short_solicitation_is_refused(pod: Datapath) -> None:
    packet = bytes(solicitation(pod, ROUTER[6], option=False))[:-8]
    packet = packet[:18] + b"\0\x10" + packet[20:]

    assert pod.run("pod_from", packet).drop_reason == C["DROP_INVALID_PACKET_DROPPED"]


@pytest.mark.parametrize("kind", [0x88CC, 0x8863, 0x0800 + 1])
def test_what_is_not_ip_is_refused(pod: Datapath, kind: int) -> None:
    result = pod.run("pod_from", Ether(type=kind) / (b"x" * 60))

    assert result.drop_reason == C["DROP_UNSUPPORTED_L3_PROTOCOL"]


def test_a_tagged_frame_is_refused(pod: Datapath, version: int) -> None:
    inner = pod.frame(version, "a", "b") / UDP()
    packet = Ether(src=inner.src, dst=inner.dst) / Dot1Q(vlan=5) / inner.payload

    assert pod.run("pod_from", packet).action == "drop"


def _checksum(packet: Packet) -> int:
    copy = packet.copy()
    del copy[ICMPv6ND_NA].cksum
    return int(Ether(bytes(copy))[ICMPv6ND_NA].cksum)
