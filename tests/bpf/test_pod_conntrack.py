"""Connections: their states, their time, their counters, and what a change of policy does."""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet

from bpf.harness import C, Datapath

A_CLASS = 7
SYN, SYN_TIME, OPEN_TIME, CLOSING_TIME, OTHER_TIME = "S", 60, 8000, 10, 90


def send(pod: Datapath, version: int, flags: str, reply: bool = False, **ports: int):  # type: ignore[no-untyped-def]
    """A segment of the connection from a:40000 to b:80, or back."""
    if reply:
        packet = pod.frame(version, "b", "a") / TCP(sport=80, dport=40000, flags=flags)
        return pod.run("pod_from", packet, device="lxcb")
    packet = pod.frame(version, "a", "b") / TCP(
        sport=ports.get("sport", 40000), dport=80, flags=flags
    )
    return pod.run("pod_from", packet)


def lifetime(pod: Datapath) -> int:
    """Seconds that the one connection has left after its last packet."""
    (connection,) = pod.connections()
    return connection["expires_s"] - max(connection["last_seen"]) // 1_000_000_000


HANDSHAKE = (("S", False), ("SA", True), ("A", False))


@pytest.mark.parametrize(
    ("segments", "seconds"),
    [
        ((("S", False),), SYN_TIME),
        ((("S", False), ("SA", True)), SYN_TIME),
        (HANDSHAKE, OPEN_TIME),
        ((*HANDSHAKE, ("PA", True)), OPEN_TIME),
        ((*HANDSHAKE, ("FA", False)), OPEN_TIME),
        ((*HANDSHAKE, ("FA", False), ("FA", True)), CLOSING_TIME),
        ((*HANDSHAKE, ("FA", True), ("FA", False), ("A", True)), CLOSING_TIME),
        ((*HANDSHAKE, ("R", True)), CLOSING_TIME),
        ((("S", False), ("RA", True)), CLOSING_TIME),
        ((("A", False),), SYN_TIME),
    ],
    ids=lambda value: "-".join(flag for flag, _ in value) if isinstance(value, tuple) else None,
)
def test_a_tcp_connection_lives_by_its_state(
    pod: Datapath, version: int, segments: tuple[tuple[str, bool], ...], seconds: int
) -> None:
    for flags, reply in segments:
        assert send(pod, version, flags, reply).action == "redirect"

    assert lifetime(pod) == seconds


def test_a_datagram_flow_lives_by_its_last_packet(pod: Datapath, version: int) -> None:
    pod.run("pod_from", pod.frame(version, "a", "b") / UDP(sport=1, dport=2))

    assert lifetime(pod) == OTHER_TIME


def test_tcp_flags_are_kept_by_direction(pod: Datapath, version: int) -> None:
    for flags, reply in HANDSHAKE:
        send(pod, version, flags, reply)

    assert pod.connections()[0]["tcp_flags"] == [0x12, 0x12]


def test_an_expired_connection_is_a_new_one(pod: Datapath, version: int) -> None:
    for flags, reply in HANDSHAKE:
        send(pod, version, flags, reply)
    pod.edit_connections(expires_s=1)

    result = send(pod, version, "A")

    assert result.of_type("TRACE")[0]["reason"] == C["TRACE_REASON_NEW"]
    assert pod.connections()[0]["packets"] == [1, 0]


def test_an_expired_connection_does_not_let_a_reply_pass(pod: Datapath, version: int) -> None:
    send(pod, version, SYN)
    pod.edit_connections(expires_s=1)
    pod.enforce("a", "INGRESS_ENFORCED")

    assert send(pod, version, "SA", reply=True).action == "drop"


@pytest.mark.parametrize("ending", [("FA", "FA"), ("R", "A")])
def test_a_syn_after_the_end_opens_anew(
    pod: Datapath, version: int, ending: tuple[str, str]
) -> None:
    for flags, reply in (*HANDSHAKE, (ending[0], False), (ending[1], True)):
        send(pod, version, flags, reply)

    result = send(pod, version, SYN)

    assert result.of_type("TRACE")[0]["reason"] == C["TRACE_REASON_NEW"]
    (connection,) = pod.connections()
    assert connection["packets"] == [1, 0]
    assert not connection["flags"] & (C["CONNTRACK_TX_CLOSING"] | C["CONNTRACK_RX_CLOSING"])


def test_a_repeated_syn_is_the_same_connection(pod: Datapath, version: int) -> None:
    send(pod, version, SYN)
    send(pod, version, SYN)

    assert pod.connections()[0]["packets"] == [2, 0]


def test_a_syn_from_the_responder_is_judged_as_its_own_connection(
    pod: Datapath, version: int
) -> None:
    """Else a server could connect back from its port through the client's connection."""
    for flags, reply in HANDSHAKE:
        send(pod, version, flags, reply)
    pod.enforce("a", "INGRESS_ENFORCED")
    pod.classify(pod.b.identity, A_CLASS)
    pod.rule(pod.a, "INGRESS", "DEFAULT_DENY")

    assert send(pod, version, SYN, reply=True).drop_reason == C["DROP_POLICY_DENIED"]
    assert len(pod.connections()) == 1, "a refused SYN ends nothing"


@pytest.mark.parametrize(("name", "direction"), [("a", "EGRESS"), ("b", "INGRESS")])
@pytest.mark.parametrize("reply", [False, True], ids=["request", "reply"])
def test_a_change_of_policy_ends_what_it_forbids(
    pod: Datapath, version: int, name: str, direction: str, reply: bool
) -> None:
    for flags, back in HANDSHAKE:
        send(pod, version, flags, back)
    peer = pod.b if name == "a" else pod.a
    pod.classify(peer.identity, A_CLASS)
    judge = pod.enforce(name, f"{direction}_ENFORCED", generation=2)
    pod.rule(judge, direction, "DEFAULT_DENY", provenance=77)

    result = send(pod, version, "A", reply)

    assert result.drop_reason == C["DROP_POLICY_DENIED"]
    assert result.of_type("DROP")[0]["provenance"] == 77
    assert result.of_type("POLICY_VERDICT")[0]["generation"] == 2
    assert pod.connections() == []
    assert send(pod, version, "A", reply=False).action == "drop"


@pytest.mark.parametrize("reply", [False, True], ids=["request", "reply"])
def test_a_change_of_policy_keeps_what_it_allows(pod: Datapath, version: int, reply: bool) -> None:
    for flags, back in HANDSHAKE:
        send(pod, version, flags, back)
    pod.classify(pod.a.identity, A_CLASS)
    judge = pod.enforce("b", "INGRESS_ENFORCED", generation=2)
    pod.rule(judge, "INGRESS", "DEFAULT_DENY")
    pod.rule(judge, "INGRESS", "ALLOW", peer=A_CLASS, protocol=6, port=80, provenance=78)

    first, second = send(pod, version, "A", reply), send(pod, version, "A", reply)

    assert (first.action, second.action) == ("redirect", "redirect")
    assert len(first.of_type("POLICY_VERDICT")) == 1
    assert second.of_type("POLICY_VERDICT") == [], "asked once, not for every packet"
    (connection,) = pod.connections()
    assert sum(connection["packets"]) == 5
    assert connection["generation"] == [2, 1]
    assert connection["provenance"] == [78, 0]
    assert connection["flags"] & C["CONNTRACK_SEEN_REPLY"], "what was seen stays seen"


def test_a_new_identity_of_a_pod_is_judged_anew(pod: Datapath, version: int) -> None:
    pod.enforce("b", "INGRESS_ENFORCED")
    pod.classify(pod.a.identity, A_CLASS)
    pod.classify(4000, A_CLASS + 1)
    pod.rule(pod.b, "INGRESS", "DEFAULT_DENY")
    pod.rule(pod.b, "INGRESS", "ALLOW", peer=A_CLASS)
    for flags, back in HANDSHAKE:
        assert send(pod, version, flags, back).action == "redirect"

    pod.enforce("a", identity=4000)

    assert send(pod, version, "A").drop_reason == C["DROP_POLICY_DENIED"]


def test_ports_tell_connections_apart(pod: Datapath, version: int) -> None:
    for port in (40000, 40001, 40002):
        send(pod, version, SYN, sport=port)

    assert len(pod.connections()) == 3


def test_protocols_tell_connections_apart(pod: Datapath, version: int) -> None:
    for layer in (TCP(sport=5000, dport=80, flags="S"), UDP(sport=5000, dport=80)):
        pod.run("pod_from", pod.frame(version, "a", "b") / layer)

    assert len(pod.connections()) == 2


def test_the_key_is_ordered(pod: Datapath, version: int) -> None:
    send(pod, version, SYN)

    (connection,) = pod.connections()
    assert connection["low"] < connection["high"]
    assert (connection["low_port"], connection["high_port"]) == (40000, 80)
    assert connection["flags"] & C["CONNTRACK_LOW_BEGAN"]


def test_who_began_does_not_depend_on_the_order(pod: Datapath, version: int) -> None:
    packet: Packet = pod.frame(version, "b", "a") / TCP(sport=40000, dport=80, flags="S")
    pod.run("pod_from", packet, device="lxcb")

    (connection,) = pod.connections()
    assert not connection["flags"] & C["CONNTRACK_LOW_BEGAN"]
    assert connection["source_identity"] == pod.b.identity


def test_a_full_table_lets_no_new_connection_pass(load, version: int) -> None:  # type: ignore[no-untyped-def]
    pod = load("pod", full=("conntrack",))

    result = send(pod, version, SYN)

    assert result.drop_reason == C["DROP_CT_MAP_INSERTION_FAILED"]
    assert pod.counted(C["DROP_CT_MAP_INSERTION_FAILED"], "EGRESS")[0] == 1
