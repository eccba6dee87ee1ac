"""Echoes are connections, errors belong to the connection that they complain about."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6Unknown,
    IPv6,
)
from scapy.packet import Packet

from bpf.harness import C, Datapath

A_CLASS = 7


def echo(version: int, reply: bool = False, number: int = 77) -> Packet:
    """An echo request or reply with an identifier."""
    if version == 4:
        return ICMP(type=0 if reply else 8, id=number, seq=1) / b"ping"
    return (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=number, seq=1, data=b"ping")


def error(version: int, quoted: Packet, too_big: bool = False) -> Packet:
    """Port unreachable, or packet too big, about an IP packet."""
    if version == 4:
        return ICMP(type=3, code=4 if too_big else 3, nexthopmtu=1400) / quoted
    return (ICMPv6PacketTooBig(mtu=1400) if too_big else ICMPv6DestUnreach(code=4)) / quoted


def quote(pod: Datapath, version: int, source: str, destination: str, layer: Packet) -> Packet:
    """The beginning of an IP packet, as an error quotes it: headers and 8 bytes."""
    whole = pod.frame(version, source, destination)[IP if version == 4 else IPv6] / layer
    head = 28 if version == 4 else 48
    return (IP if version == 4 else IPv6)(bytes(whole)[:head])


def close_to_new(pod: Datapath, name: str) -> None:
    """Lets the pod receive nothing but what belongs to connections."""
    for one in (pod.a, pod.b):
        pod.classify(one.identity, A_CLASS)
    judge = pod.enforce(name, "INGRESS_ENFORCED")
    pod.rule(judge, "INGRESS", "DEFAULT_DENY")


def test_an_echo_and_its_reply_are_one_connection(pod: Datapath, version: int) -> None:
    close_to_new(pod, "a")

    there = pod.run("pod_from", pod.frame(version, "a", "b") / echo(version))
    back = pod.run("pod_from", pod.frame(version, "b", "a") / echo(version, True), device="lxcb")

    assert (there.action, back.action) == ("redirect", "redirect")
    (connection,) = pod.connections()
    assert connection["packets"] == [1, 1]
    assert (connection["low_port"], connection["high_port"]) == (77, 0)


def test_a_reply_with_another_identifier_is_not_a_reply(pod: Datapath, version: int) -> None:
    close_to_new(pod, "a")
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version))

    stray = pod.frame(version, "b", "a") / echo(version, True, number=78)

    assert pod.run("pod_from", stray, device="lxcb").drop_reason == C["DROP_POLICY_DENIED"]


@pytest.mark.parametrize("number", [77, 0])
def test_a_request_cannot_hide_behind_a_request_of_the_other_side(
    pod: Datapath, version: int, number: int
) -> None:
    close_to_new(pod, "a")
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version, number=number))

    back = pod.frame(version, "b", "a") / echo(version, number=number)

    assert pod.run("pod_from", back, device="lxcb").drop_reason == C["DROP_POLICY_DENIED"]


def others(version: int) -> dict[str, Packet]:
    """ICMP that belongs to no echo, whatever its fifth to eighth byte say."""
    if version == 4:
        redirect = ICMP(type=5, code=1, gw="10.0.1.66") / bytes(28)
        return {
            "redirect": redirect,
            "timestamp": ICMP(type=13, id=0),
            "wrong-reply": ICMP(type=129),
        }
    wrong = {"node-information": 139, "unassigned": 200, "wrong-reply": 0}
    return {name: ICMPv6Unknown(type=kind, msgbody=bytes(20)) for name, kind in wrong.items()}


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("back", [True, False], ids=["back", "there"])
def test_what_is_no_echo_cannot_hide_behind_an_echo(
    pod: Datapath, version: int, which: int, back: bool
) -> None:
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version, number=0))
    (before,) = pod.connections()
    close_to_new(pod, "a" if back else "b")
    source, destination = ("b", "a") if back else ("a", "b")

    other = pod.frame(version, source, destination) / list(others(version).values())[which]
    result = pod.run("pod_from", other, device=f"lxc{source}")

    assert result.drop_reason == C["DROP_POLICY_DENIED"]
    assert pod.connections()[0]["packets"] == before["packets"]


def test_who_asks_cannot_answer(pod: Datapath, version: int) -> None:
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version, number=0))
    (before,) = pod.connections()
    close_to_new(pod, "b")

    own = pod.frame(version, "a", "b") / echo(version, True, number=0)

    assert pod.run("pod_from", own).drop_reason == C["DROP_POLICY_DENIED"]
    assert pod.connections()[0]["packets"] == before["packets"]


def test_an_echo_with_identifier_0_gets_its_reply(pod: Datapath, version: int) -> None:
    close_to_new(pod, "a")
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version, number=0))

    back = pod.frame(version, "b", "a") / echo(version, True, number=0)

    assert pod.run("pod_from", back, device="lxcb").action == "redirect"
    assert pod.connections()[0]["packets"] == [1, 1]


def test_a_reply_that_nobody_asked_for_begins_no_connection(pod: Datapath, version: int) -> None:
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version, True))

    assert pod.connections() == []


LAYERS = {"tcp": TCP(sport=40000, dport=80, flags="S"), "udp": UDP(sport=40000, dport=53)}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("too_big", [False, True], ids=["unreachable", "too-big"])
def test_an_error_from_the_other_end_is_related(
    pod: Datapath, version: int, layer: str, too_big: bool
) -> None:
    close_to_new(pod, "a")
    pod.run("pod_from", pod.frame(version, "a", "b") / LAYERS[layer])
    quoted = quote(pod, version, "a", "b", LAYERS[layer])

    packet = pod.frame(version, "b", "a") / error(version, quoted, too_big)
    result = pod.run("pod_from", packet, device="lxcb")

    assert result.action == "redirect"
    (trace,) = result.of_type("TRACE")
    assert trace["reason"] == C["TRACE_REASON_RELATED"]
    assert pod.connections()[0]["packets"] == [1, 0], "an error is no packet of the connection"


def test_an_error_about_an_echo_is_related(pod: Datapath, version: int) -> None:
    close_to_new(pod, "a")
    pod.run("pod_from", pod.frame(version, "a", "b") / echo(version))
    quoted = quote(pod, version, "a", "b", echo(version))

    packet = pod.frame(version, "b", "a") / error(version, quoted)

    assert pod.run("pod_from", packet, device="lxcb").action == "redirect"


def test_an_error_about_the_reply_is_related(pod: Datapath, version: int) -> None:
    close_to_new(pod, "b")
    pod.enforce("b")
    pod.run("pod_from", pod.frame(version, "a", "b") / LAYERS["udp"])
    answer = UDP(sport=53, dport=40000)
    pod.run("pod_from", pod.frame(version, "b", "a") / answer, device="lxcb")
    quoted = quote(pod, version, "b", "a", answer)

    result = pod.run("pod_from", pod.frame(version, "a", "b") / error(version, quoted))

    assert result.of_type("TRACE")[0]["reason"] == C["TRACE_REASON_RELATED"]


@pytest.mark.parametrize("why", ["unknown", "expired", "not-mine", "not-for-you", "stale"])
def test_an_error_that_belongs_to_nothing_needs_a_rule(
    pod: Datapath, version: int, why: str
) -> None:
    close_to_new(pod, "a")
    layer = LAYERS["udp"]
    if why != "unknown":
        target = "world" if why == "not-mine" else "b"
        pod.run("pod_from", pod.frame(version, "a", target) / layer)
    if why == "expired":
        pod.edit_connections(expires_s=1)
    if why == "stale":
        pod.enforce("a", "INGRESS_ENFORCED", generation=2)
    target = {"not-mine": "world", "not-for-you": "b"}.get(why, "b")
    source = "node" if why == "not-for-you" else "a"
    quoted = quote(pod, version, source, target, layer)

    packet = pod.frame(version, "b", "a") / error(version, quoted)
    result = pod.run("pod_from", packet, device="lxcb")

    assert result.drop_reason == C["DROP_POLICY_DENIED"]


@pytest.mark.parametrize("length", [0, 7, 19, 27])
def test_an_error_with_a_short_quote_is_refused(pod: Datapath, version: int, length: int) -> None:
    quoted = bytes(quote(pod, version, "b", "a", LAYERS["udp"]))[:length]

    result = pod.run("pod_from", pod.frame(version, "a", "b") / error(version, quoted))

    assert result.drop_reason == C["DROP_CT_TRUNCATED_OR_INVALID_HEADER"]


def test_an_error_about_a_later_fragment_is_refused(pod: Datapath) -> None:
    quoted = IP(src=pod.b.address[4], dst=pod.a.address[4], frag=100, proto=17) / (b"x" * 8)

    result = pod.run("pod_from", pod.frame(4, "a", "b") / error(4, quoted))

    assert result.drop_reason == C["DROP_CT_TRUNCATED_OR_INVALID_HEADER"]


def test_icmp_of_the_other_family_is_refused(pod: Datapath, version: int) -> None:
    field = {"proto": 58} if version == 4 else {"nh": 1}

    result = pod.run("pod_from", pod.frame(version, "a", "b", **field) / (b"\x80" + bytes(15)))

    assert result.drop_reason == C["DROP_CT_UNKNOWN_L4_PROTOCOL"]
