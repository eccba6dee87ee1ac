"""Later fragments have no ports: the first one of their datagram tells them."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    fragment6,
)
from scapy.packet import Packet

from bpf.harness import C, Datapath

A_CLASS = 7
BIG = b"x" * 3000


def fragments(
    pod: Datapath, version: int, layer: Packet, source: str = "a", destination: str = "b"
) -> list[Packet]:
    """A datagram of some 3000 bytes, in three pieces."""
    if version == 4:
        whole = pod.frame(4, source, destination, id=4711) / layer / BIG
        return list(fragment(whole, fragsize=1200))
    head = pod.frame(6, source, destination) / IPv6ExtHdrFragment(id=4711)
    return list(fragment6(head / layer / BIG, 1300))


def echo(version: int, number: int = 9) -> Packet:
    """An echo request."""
    return ICMP(id=number) if version == 4 else ICMPv6EchoRequest(id=number)


def echo_reply(version: int, number: int = 9) -> Packet:
    """Its answer."""
    return ICMP(type=0, id=number) if version == 4 else ICMPv6EchoReply(id=number)


def close(pod: Datapath, name: str) -> None:
    """Lets the pod receive nothing but what belongs to connections."""
    for one in (pod.a, pod.b):
        pod.classify(one.identity, A_CLASS)
    pod.rule(pod.enforce(name, "INGRESS_ENFORCED"), "INGRESS", "DEFAULT_DENY")


def test_all_fragments_are_one_connection(pod: Datapath, version: int) -> None:
    pieces = fragments(pod, version, UDP(sport=1000, dport=2000))
    assert len(pieces) == 3

    results = [pod.run("pod_from", piece) for piece in pieces]

    assert [result.action for result in results] == ["redirect"] * 3
    (connection,) = pod.connections()
    assert connection["packets"] == [3, 0]


def test_all_fragments_of_an_echo_are_one_connection(pod: Datapath, version: int) -> None:
    pieces = fragments(pod, version, echo(version))

    results = [pod.run("pod_from", piece) for piece in pieces]

    assert [result.action for result in results] == ["redirect"] * 3
    assert pod.connections()[0]["packets"] == [3, 0]


def test_fragments_of_a_reply_that_nobody_asked_for_begin_no_connection(
    pod: Datapath, version: int
) -> None:
    for piece in fragments(pod, version, echo_reply(version)):
        assert pod.run("pod_from", piece).action == "redirect"

    assert pod.connections() == []


@pytest.mark.parametrize("number", [9, 0])
def test_all_fragments_of_an_echos_reply_belong_to_it(
    pod: Datapath, version: int, number: int
) -> None:
    close(pod, "a")
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version, number))

    pieces = fragments(pod, version, echo_reply(version, number), "b", "a")
    results = [pod.run("pod_from", piece, device="lxcb") for piece in pieces]

    assert [result.action for result in results] == ["redirect"] * 3
    assert pod.connections()[0]["packets"] == [1, 3]


def test_fragments_of_what_is_no_echo_belong_to_none(pod: Datapath, version: int) -> None:
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version, 0))
    close(pod, "b")
    other = ICMP(type=13, id=0) if version == 4 else ICMPv6Unknown(type=200, msgbody=bytes(8))

    results = [pod.run("pod_from", one) for one in fragments(pod, version, other)]

    assert [result.drop_reason for result in results] == [C["DROP_POLICY_DENIED"]] * 3
    assert pod.connections()[0]["packets"] == [1, 0]


def test_policy_holds_for_later_fragments(pod: Datapath, version: int) -> None:
    pod.enforce("b", "INGRESS_ENFORCED")
    pod.classify(pod.a.identity, A_CLASS)
    pod.rule(pod.b, "INGRESS", "DEFAULT_DENY")
    pod.rule(pod.b, "INGRESS", "ALLOW", protocol=17, port=2000)

    good = [pod.run("pod_from", one) for one in fragments(pod, version, UDP(dport=2000))]
    assert [one.action for one in good] == ["redirect"] * 3
    bad = [pod.run("pod_from", one) for one in fragments(pod, version, UDP(dport=2001))]
    assert [one.drop_reason for one in bad] == [C["DROP_POLICY_DENIED"]] * 3


def test_a_fragment_without_its_first_is_refused(pod: Datapath, version: int) -> None:
    later = fragments(pod, version, UDP(sport=1000, dport=2000))[1]

    result = pod.run("pod_from", later)

    assert result.drop_reason == C["DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"]


@pytest.mark.parametrize("what", ["id", "source"])
def test_the_first_of_another_datagram_does_not_help(
    pod: Datapath, version: int, what: str
) -> None:
    first, later, _ = fragments(pod, version, UDP(sport=1000, dport=2000))
    pod.run("pod_from", first)
    if what == "source":
        back = pod.frame(version, "b", "a", **({"id": 4711} if version == 4 else {}))
        later = _turned(later, back, version)
    elif version == 4:
        later[IP].id = 4712
        del later[IP].chksum
    else:
        later[IPv6ExtHdrFragment].id = 4712

    result = pod.run("pod_from", later, device="lxcb" if what == "source" else "lxca")

    assert result.drop_reason == C["DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"]


def test_a_first_fragment_without_ports_is_refused(pod: Datapath, version: int) -> None:
    layer = bytes(TCP(sport=1, dport=80, flags="S"))[:16]
    if version == 4:
        packet = pod.frame(4, "a", "b", flags="MF", proto=6) / layer
    else:
        packet = pod.frame(6, "a", "b") / IPv6ExtHdrFragment(nh=6, m=1) / layer

    result = pod.run("pod_from", packet)

    assert result.drop_reason == C["DROP_CT_TRUNCATED_OR_INVALID_HEADER"]


def test_headers_after_a_later_fragments_header_are_not_read(pod: Datapath) -> None:
    packet = (
        pod.frame(6, "a", "b")
        / IPv6ExtHdrFragment(nh=60, offset=10)
        / bytes(IPv6ExtHdrDestOpt(nh=17) / UDP())
    )

    result = pod.run("pod_from", packet)

    assert result.drop_reason == C["DROP_INVALID_IPV6_EXTENSION_HEADER"]


def test_a_whole_datagram_with_a_fragment_header_is_not_a_fragment(pod: Datapath) -> None:
    packet = pod.frame(6, "a", "b") / IPv6ExtHdrFragment() / UDP(sport=1, dport=2)

    assert pod.run("pod_from", packet).action == "redirect"


def test_a_full_fragment_table_lets_no_fragment_pass(load, version: int) -> None:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    pod = load("pod", full=("fragment",))

    result = pod.run("pod_from", fragments(pod, version, UDP())[0])

    assert result.drop_reason == C["DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"]


def _turned(later: Packet, head: Packet, version: int) -> Packet:
    layer = IP if version == 4 else IPv6
    turned = later.copy()
    turned[layer].src, turned[layer].dst = head[layer].src, head[layer].dst
    if version == 4:
        del turned[IP].chksum
    return turned
