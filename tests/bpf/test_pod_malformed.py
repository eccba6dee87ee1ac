"""Nonsense is refused: nothing malformed, cut short or unknown reaches anybody."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from bpf.harness import C, Datapath

TRANSPORTS = {
    "tcp": TCP(sport=1, dport=2, flags="S"),
    "udp": UDP(sport=1, dport=2),
    "sctp": SCTP(sport=1, dport=2),
}
SHORT = [("tcp", 0), ("tcp", 4), ("tcp", 19), ("udp", 7), ("sctp", 8), ("sctp", 11)]


@pytest.mark.parametrize(("transport", "length"), SHORT)
def test_a_short_transport_header_is_refused(
    pod: Datapath, version: int, transport: str, length: int
) -> None:
    layer = TRANSPORTS[transport]
    number = {"tcp": 6, "udp": 17, "sctp": 132}[transport]
    field = {"proto": number} if version == 4 else {"nh": number}

    result = pod.run("pod_from", pod.frame(version, "a", "b", **field) / bytes(layer)[:length])

    assert result.drop_reason == C["DROP_CT_TRUNCATED_OR_INVALID_HEADER"]
    assert pod.connections() == []


@pytest.mark.parametrize("length", [0, 4, 7])
def test_a_short_icmp_header_is_refused(pod: Datapath, version: int, length: int) -> None:
    field = {"proto": 1} if version == 4 else {"nh": 58}
    layer = ICMP() if version == 4 else ICMPv6EchoRequest()

    result = pod.run("pod_from", pod.frame(version, "a", "b", **field) / bytes(layer)[:length])

    assert result.drop_reason == C["DROP_CT_TRUNCATED_OR_INVALID_HEADER"]


@pytest.mark.parametrize("protocol", [2, 47, 50, 89, 136, 255])
def test_an_unknown_transport_is_refused(pod: Datapath, version: int, protocol: int) -> None:
    field = {"proto": protocol} if version == 4 else {"nh": protocol}

    result = pod.run("pod_from", pod.frame(version, "a", "b", **field) / (b"x" * 40))

    assert result.drop_reason == C["DROP_CT_UNKNOWN_L4_PROTOCOL"]


@pytest.mark.parametrize(
    "fields",
    [{"version": 5}, {"ihl": 4}, {"ihl": 0}, {"len": 1000}, {"len": 19}, {"len": 0}],
    ids=str,
)
def test_a_broken_ipv4_header_is_refused(pod: Datapath, fields: dict[str, int]) -> None:
    packet = pod.frame(4, "a", "b") / UDP()
    for field, value in fields.items():
        packet[IP].setfieldval(field, value)

    assert pod.run("pod_from", packet).drop_reason == C["DROP_INVALID_PACKET_DROPPED"]


def test_options_longer_than_the_packet_are_refused(pod: Datapath) -> None:
    result = pod.run("pod_from", pod.frame(4, "a", "b", ihl=15) / UDP())

    assert result.action == "drop"


@pytest.mark.parametrize("fields", [{"version": 4}, {"plen": 1000}], ids=str)
def test_a_broken_ipv6_header_is_refused(pod: Datapath, fields: dict[str, int]) -> None:
    packet = pod.frame(6, "a", "b") / UDP()
    for field, value in fields.items():
        packet[IPv6].setfieldval(field, value)

    assert pod.run("pod_from", packet).action == "drop"


@pytest.mark.parametrize(
    ("source", "destination"), [("::ffff:10.0.1.10", "b"), ("a", "::ffff:10.0.1.20")]
)
def test_ipv4_in_the_clothes_of_ipv6_is_refused(
    pod: Datapath, source: str, destination: str
) -> None:
    result = pod.run("pod_from", pod.frame(6, source, destination) / UDP())

    assert result.drop_reason == C["DROP_INVALID_PACKET_DROPPED"]


def test_ipv4_options_are_skipped(pod: Datapath) -> None:
    packet = pod.frame(4, "a", "b", options=[IPOption_NOP()] * 7) / UDP(sport=1, dport=2)
    packet = Ether(bytes(packet))

    assert pod.run("pod_from", packet).action == "redirect"
    assert pod.connections()[0]["low_port"] == 1


EXTENSIONS: dict[str, Callable[[], Packet]] = {
    "hop-by-hop": lambda: IPv6ExtHdrHopByHop(options=PadN(optdata=b"\0" * 12)),
    "destination": lambda: IPv6ExtHdrDestOpt(options=PadN(optdata=b"\0" * 4)),
    "routing": lambda: IPv6ExtHdrRouting(type=4, addresses=[]),
    "authentication": lambda: AH(nh=17, spi=1, payloadlen=4, icv=b"\0" * 12, padding=b""),
    "all": lambda: IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(type=4) / IPv6ExtHdrDestOpt(),
}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_ipv6_extension_headers_are_skipped(pod: Datapath, extension: str) -> None:
    packet = pod.frame(6, "a", "b") / EXTENSIONS[extension]() / UDP(sport=1, dport=2)

    result = pod.run("pod_from", packet)

    assert result.action == "redirect"
    (connection,) = pod.connections()
    assert (connection["low_port"], connection["high_port"]) == (1, 2)


@pytest.mark.parametrize("count", [8, 12])
def test_too_many_extension_headers_are_refused(pod: Datapath, count: int) -> None:
    packet = pod.frame(6, "a", "b")
    for _ in range(count):
        packet = packet / IPv6ExtHdrDestOpt()

    result = pod.run("pod_from", packet / UDP())

    assert result.drop_reason == C["DROP_INVALID_IPV6_EXTENSION_HEADER"]


def test_an_extension_header_that_runs_past_the_end_is_refused(pod: Datapath) -> None:
    packet = pod.frame(6, "a", "b") / IPv6ExtHdrDestOpt(nh=17, len=20) / UDP()

    assert pod.run("pod_from", packet).action == "drop"


def test_a_header_cut_off_after_the_first_extension_is_refused(pod: Datapath) -> None:
    packet = pod.frame(6, "a", "b") / IPv6ExtHdrDestOpt(nh=60) / b"\x11\0"

    result = pod.run("pod_from", packet)

    assert result.drop_reason == C["DROP_INVALID_IPV6_EXTENSION_HEADER"]


RANDOM = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _headed(version: int, source: bytes, destination: bytes, rest: bytes) -> bytes:
    """A random packet behind addresses that pass, so that it reaches the deeper steps."""
    ether = bytes(Ether(type=0x0800 if version == 4 else 0x86DD))[:14]
    if version == 4:
        return ether + rest[:12] + source + destination + rest[12:]
    return ether + rest[:8] + source + destination + rest[8:]


@RANDOM
@given(rest=st.binary(min_size=64, max_size=300), guided=st.integers(0, 2))
def test_a_random_packet_of_a_closed_pod_never_gets_through(
    pod: Datapath, version: int, rest: bytes, guided: int
) -> None:
    judge = pod.enforce("a", "EGRESS_ENFORCED")
    for identity in (1, 9, 10, pod.b.identity):
        pod.classify(identity, 7)
    pod.rule(judge, "EGRESS", "DEFAULT_DENY")
    if version == 4:
        rest = bytes([0x45 + guided]) + rest[1:2] + len(rest[:80]).to_bytes(2, "big") + rest[4:]
        rest = rest[:6] + (b"\0\0" if guided else rest[6:8]) + rest[8:]
        ends = IP(src=pod.a.address[4], dst=pod.b.address[4])
        raw = _headed(4, bytes(ends)[12:16], bytes(ends)[16:20], rest)
    else:
        rest = bytes([0x60]) + rest[1:4] + len(rest[:56]).to_bytes(2, "big") + rest[6:]
        whole = bytes(pod.frame(6, "a", "b"))[14:]
        raw = _headed(6, whole[8:24], whole[24:40], rest)

    result = pod.run("pod_from", raw)

    assert result.action == "drop" or _is_discovery(result.packet)
    assert pod.connections() == []


@RANDOM
@given(raw=st.binary(min_size=14, max_size=400))
def test_random_bytes_leave_a_closed_pod_only_as_questions_to_its_gateway(
    pod: Datapath, raw: bytes
) -> None:
    pod.remove("a")
    if raw[12:14] in (b"\x08\x00", b"\x86\xdd") and len(raw) < 54:
        raw += bytes(54)

    result = pod.run("pod_from", raw)

    assert result.action == "drop"


@RANDOM
@given(data=st.data())
def test_a_cut_or_bent_packet_never_reaches_a_pod_that_refuses_it(
    pod: Datapath, version: int, data: st.DataObject
) -> None:
    """Whatever the bytes become, no policy row is passed by that the whole packet did not pass."""
    judge = pod.enforce("b", "INGRESS_ENFORCED")
    pod.classify(pod.a.identity, 7)
    pod.rule(judge, "INGRESS", "DEFAULT_DENY")
    raw = bytearray(bytes(pod.frame(version, "a", "b") / UDP(sport=1, dport=2) / Raw(b"x" * 40)))
    first = 34 if version == 4 else 54
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(first - 20, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(first, len(raw)))])

    result = pod.run("pod_from", cut)

    assert result.action == "drop" or result.packet.dst != pod.b.mac


def _is_discovery(packet: Packet) -> bool:
    return packet.src == "02:00:00:00:00:01"
