"""Into a pod from the node's stack and from the network: the gates on both ways."""

from collections.abc import Callable

import pytest
from scapy.layers.inet import ICMP, TCP, UDP, TCPerror, UDPerror
from scapy.layers.inet6 import ICMPv6PacketTooBig
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from bpf.harness import HOST, C, Datapath, Result
from bpf.outside import hops, quote, receive, transport, unreachable

KINDS = ["tcp", "udp", "echo"]


def enter(host: Datapath, packet: Packet | bytes) -> Result:
    """A frame through the egress of cilia_host."""
    return host.run("host_to_pod", packet, device="cilia_host")


def know_the_host(host: Datapath) -> None:
    """Gives the node's and the router's addresses the host's identity."""
    for version, bits in ((4, 32), (6, 128)):
        for place in ("node", "router"):
            host.prefix(f"{host.address(place, version)}/{bits}", HOST)


def close(host: Datapath) -> None:
    """Pod a lets nobody in, whoever is known."""
    host.enforce("a", "INGRESS_ENFORCED")
    host.rule(host.a, "INGRESS", "DEFAULT_DENY", provenance=77)
    for identity in (HOST, 9, 10):
        host.classify(identity, identity)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stack_reaches_a_pod_by_its_device(host: Datapath, version: int, kind: str) -> None:
    know_the_host(host)
    packet = host.frame(version, "router", "a") / transport(version, kind, 40000)

    result = enter(host, packet)

    assert result.action == "redirect"
    assert (result.packet.dst, result.packet.src) == (host.a.mac, host.a.host_mac)
    assert bytes(result.packet)[12:] == bytes(packet)[12:], "only the MACs change"
    (event,) = result.of_type("TRACE")
    assert event["subtype"] == C["TRACE_TO_ENDPOINT"]
    assert (event["source_identity"], event["destination_identity"]) == (HOST, 1000)
    assert event["destination_endpoint"] == 10
    (connection,) = host.connections()
    assert connection["flags"] & C["CONNTRACK_INGRESS_JUDGED"]


def test_the_host_enters_whatever_policy_says(host: Datapath, version: int) -> None:
    know_the_host(host)
    close(host)

    result = enter(host, host.frame(version, "router", "a") / TCP(dport=80))

    assert result.action == "redirect"


def test_unless_it_is_judged_like_anyone(load: Callable[..., Datapath], version: int) -> None:
    host = load("host", allow_host=0)
    know_the_host(host)
    close(host)
    packet = host.frame(version, "router", "a") / TCP(dport=80)

    refused = enter(host, packet)
    host.rule(host.a, "INGRESS", "ALLOW", peer=HOST, protocol=6, port=80)
    allowed = enter(host, packet)

    assert refused.drop_reason == C["DROP_POLICY_DENIED"]
    assert refused.of_type("DROP")[0]["provenance"] == 77
    assert host.counted(C["DROP_POLICY_DENIED"], "INGRESS")[0] == 1
    assert allowed.action == "redirect"


def test_whom_the_stack_forwards_for_is_judged(host: Datapath, version: int) -> None:
    know_the_host(host)
    close(host)

    result = enter(host, host.frame(version, "world", "a") / TCP(dport=80))

    assert result.drop_reason == C["DROP_POLICY_DENIED"]


def test_a_known_connection_enters_a_closed_pod(
    load: Callable[..., Datapath], version: int
) -> None:
    host = load("host", allow_host=0)
    know_the_host(host)
    enter(host, host.frame(version, "router", "a") / transport(version, "tcp", 40000))
    host.edit_connections(flags=_begun_by(host, version, C["CONNTRACK_EGRESS_JUDGED"]))
    close(host)
    host.edit_connections(generation=[1, 1], source_identity=1000)

    answer = host.frame(version, "router", "a") / TCP(sport=40000, dport=80, flags="A")

    def error(port: int) -> Packet:
        too_big = ICMP(type=3, code=4, nexthopmtu=1300) if version == 4 else ICMPv6PacketTooBig()
        head = host.frame(version, "router", "a") / too_big / quote(host, version, "a", "router")
        return head / TCPerror(sport=80, dport=port)

    assert enter(host, answer).action == "redirect"
    assert enter(host, error(40000)).action == "redirect"
    assert enter(host, error(40001)).drop_reason == C["DROP_POLICY_DENIED"]


def _begun_by(host: Datapath, version: int, judged: int) -> int:
    """Flags of a connection that pod a began, whichever address is the lower."""
    (row,) = host.connections()
    return judged | ((row["flags"] & C["CONNTRACK_LOW_BEGAN"]) ^ C["CONNTRACK_LOW_BEGAN"])


@pytest.mark.parametrize("place", ["node", "router", "b"])
def test_whom_the_stack_forwards_for_is_not_the_node_nor_a_pod_of_it(
    host: Datapath, version: int, place: str
) -> None:
    know_the_host(host)
    packet = host.frame(version, place, "a") / TCP(sport=40000, dport=80, flags="S")

    def entered(device: str) -> Result:
        """From another device, which the stack forwards for."""
        came_in = host.room[device] if device else 0
        return host.run("host_to_pod", packet, device="cilia_host", ingress_ifindex=came_in)

    assert entered("eth0").drop_reason == C["DROP_INVALID_SOURCE_IP"]
    assert host.connections() == []
    assert entered("").action == "redirect", "what the stack itself sends"
    assert entered("cilia_host").action == "redirect", "what a pod sent by the stack"


def test_whom_the_stack_forwards_for_may_be_anyone_else(host: Datapath, version: int) -> None:
    know_the_host(host)
    packet = host.frame(version, "world", "a") / TCP(sport=40000, dport=80, flags="S")

    result = host.run("host_to_pod", packet, device="cilia_host", ingress_ifindex=host.room["eth0"])

    assert result.action == "redirect"


def test_nobodys_address_gets_nothing(host: Datapath, version: int) -> None:
    result = enter(host, host.frame(version, "router", "stranger") / TCP())

    assert result.drop_reason == C["DROP_STALE_OR_UNROUTABLE_IP"]


def test_a_pod_that_is_not_ready_gets_nothing(host: Datapath, version: int) -> None:
    host.write(host.a.with_flags(0))

    result = enter(host, host.frame(version, "router", "a") / UDP())

    assert result.drop_reason == C["DROP_EP_NOT_READY"]
    assert result.of_type("DROP")[0]["destination_endpoint"] == 10


def test_what_is_for_no_pod_goes_its_way(host: Datapath, version: int) -> None:
    multicast = {4: "224.0.0.1", 6: "ff02::1"}[version]
    for packet in (Ether() / ARP(), host.frame(version, "router", multicast) / UDP()):
        assert enter(host, packet).action == "next"


def test_what_cannot_be_read_does_not_enter(host: Datapath, version: int) -> None:
    cut = bytes(host.frame(version, "router", "a") / TCP())[:-10]

    assert enter(host, cut).drop_reason == C["DROP_INVALID_PACKET_DROPPED"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_world_reaches_a_pod_in_one_hop(host: Datapath, version: int, kind: str) -> None:
    layers = transport(version, kind, 5555)

    result = receive(host, host.frame(version, "world", "a", **hops(version)) / layers)

    assert result.action == "redirect"
    frame = host.frame(version, "world", "a", **hops(version, 63)) / layers
    frame.dst, frame.src = host.a.mac, host.a.host_mac
    assert bytes(result.packet).hex() == bytes(frame).hex()


def test_the_world_is_judged(host: Datapath, version: int) -> None:
    close(host)
    packet = host.frame(version, "world", "a") / TCP(dport=80, flags="S")

    refused = receive(host, packet)
    host.rule(host.a, "INGRESS", "ALLOW", peer={4: 9, 6: 10}[version], protocol=6, port=80)

    assert refused.drop_reason == C["DROP_POLICY_DENIED"]
    assert receive(host, packet).action == "redirect"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["node", "router"])
def test_nobody_out_there_is_the_node(host: Datapath, version: int, place: str, kind: str) -> None:
    know_the_host(host)

    result = receive(host, host.frame(version, place, "a") / transport(version, kind, 40000))

    assert result.drop_reason == C["DROP_INVALID_SOURCE_IP"]
    assert host.connections() == [], "else the pod's answer would need no policy"


def test_who_forges_the_node_ends_no_connection_of_it(host: Datapath, version: int) -> None:
    know_the_host(host)
    enter(host, host.frame(version, "node", "a") / transport(version, "tcp", 40000))
    before = host.connections()

    forged = host.frame(version, "node", "a") / TCP(sport=40000, dport=80, flags="R")

    assert receive(host, forged).drop_reason == C["DROP_INVALID_SOURCE_IP"]
    assert host.connections() == before


def test_nobody_out_there_is_a_pod_of_ours(host: Datapath, version: int) -> None:
    result = receive(host, host.frame(version, "b", "a") / TCP())

    assert result.drop_reason == C["DROP_INVALID_SOURCE_IP"]


def test_the_stack_answers_a_last_hop(host: Datapath, version: int) -> None:
    packet = host.frame(version, "world", "a", **hops(version, 1)) / UDP()

    assert receive(host, packet).action == "next"
    assert host.connections() == []


def test_a_stranger_in_the_pod_network_is_the_stacks(host: Datapath, version: int) -> None:
    assert receive(host, host.frame(version, "world", "stranger") / UDP()).action == "next"


def test_a_pod_that_is_not_ready_gets_nothing_from_the_world(host: Datapath, version: int) -> None:
    host.write(host.a.with_flags(0))

    result = receive(host, host.frame(version, "world", "a") / UDP())

    assert result.drop_reason == C["DROP_EP_NOT_READY"]


def test_an_error_from_the_world_about_no_connection_is_judged(
    host: Datapath, version: int
) -> None:
    close(host)
    error = (
        host.frame(version, "world", "a")
        / unreachable(version)
        / quote(host, version, "a", "world")
        / UDPerror(sport=1, dport=2)
    )

    assert receive(host, error).drop_reason == C["DROP_POLICY_DENIED"]


def test_programs_go_through_the_verifier_in_few_steps(host: Datapath) -> None:
    counts = {name: one.facts().verified_instructions for name, one in host.programs.items()}
    assert set(counts) == {"host_to_pod", "host_from_net", "host_to_net"}
    assert max(counts.values()) < 20000, counts
