"""What policies let pass: rows, precedence, classes, audit, and what is said about it."""

import msgspec
import pytest
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.packet import Packet

from bpf.harness import C, Datapath

A_CLASS, OTHER_CLASS = 7, 8


class Row(msgspec.Struct, frozen=True):
    """A policy row of the receiving pod."""

    verdict: str
    peer: int = 0
    protocol: int = 0
    port: int = 0
    bits: int | None = None
    precedence: int = 0
    provenance: int = 0


class Case(msgspec.Struct, frozen=True):
    """Rows, and what they say about a SYN to port 80 from class 7."""

    sentence: str
    rows: tuple[Row, ...]
    drop: str | None = None
    match: str = "NONE"
    provenance: int = 0


BASE = Row("DEFAULT_DENY", provenance=1)
CASES = (
    Case("nothing is allowed that no rule allows", (BASE,), "DROP_POLICY_DENIED", "ALL", 1),
    Case(
        "no row at all means that the policy is not in",
        (),
        "DROP_NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION",
    ),
    Case("a class is allowed", (BASE, Row("ALLOW", A_CLASS, provenance=2)), None, "L3_ONLY", 2),
    Case(
        "another class is not",
        (BASE, Row("ALLOW", OTHER_CLASS, provenance=2)),
        "DROP_POLICY_DENIED",
        "ALL",
        1,
    ),
    Case(
        "a class is allowed on a port",
        (BASE, Row("ALLOW", A_CLASS, 6, 80, provenance=3)),
        None,
        "L3_L4",
        3,
    ),
    Case(
        "a class is not allowed on another port",
        (BASE, Row("ALLOW", A_CLASS, 6, 81, provenance=3)),
        "DROP_POLICY_DENIED",
        "ALL",
        1,
    ),
    Case(
        "nor with another protocol",
        (BASE, Row("ALLOW", A_CLASS, 17, 80, provenance=3)),
        "DROP_POLICY_DENIED",
        "ALL",
        1,
    ),
    Case("everybody on a port", (BASE, Row("ALLOW", 0, 6, 80, provenance=4)), None, "L4_ONLY", 4),
    Case("everybody by protocol", (BASE, Row("ALLOW", 0, 6, provenance=5)), None, "PROTO_ONLY", 5),
    Case(
        "a class by protocol", (BASE, Row("ALLOW", A_CLASS, 6, provenance=6)), None, "L3_PROTO", 6
    ),
    Case(
        "ports 80 to 95 are one row of 92 bits",
        (BASE, Row("ALLOW", 0, 6, 80, bits=92, provenance=7)),
        None,
        "L4_ONLY",
        7,
    ),
    Case(
        "ports 96 to 111 do not reach down to 80",
        (BASE, Row("ALLOW", 0, 6, 96, bits=92, provenance=7)),
        "DROP_POLICY_DENIED",
        "ALL",
        1,
    ),
    Case(
        "a deny of everybody beats an allow of a class by precedence",
        (
            BASE,
            Row("ALLOW", A_CLASS, 6, 80, precedence=1),
            Row("DENY", precedence=2, provenance=8),
        ),
        "DROP_POLICY_DENY",
        "ALL",
        8,
    ),
    Case(
        "an allow of everybody beats a closed class by precedence",
        (
            Row("ALLOW", 0, 6, 80, precedence=3, provenance=9),
            Row("DENY", A_CLASS, precedence=2),
        ),
        None,
        "L4_ONLY",
        9,
    ),
    Case(
        "of equal precedence, the longer row decides",
        (Row("ALLOW", 0, 6, 80, provenance=10), Row("DENY", A_CLASS, 6)),
        None,
        "L4_ONLY",
        10,
    ),
    Case(
        "of equal precedence and length, the row with a class decides",
        (Row("DENY", 0, 6, 80), Row("ALLOW", A_CLASS, 6, 80, provenance=11)),
        None,
        "L3_L4",
        11,
    ),
    Case("a deny rule says so", (Row("DENY", provenance=12),), "DROP_POLICY_DENY", "ALL", 12),
    Case(
        "a proxy that is not there lets nothing pass",
        (Row("REDIRECT", provenance=13),),
        "DROP_PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL",
        "ALL",
        13,
    ),
    Case("a verdict that nobody knows closes", (Row("UNKNOWN"),), "DROP_POLICY_DENIED", "ALL"),
)


@pytest.mark.parametrize("direction", ["INGRESS", "EGRESS"])
@pytest.mark.parametrize("case", CASES, ids=[case.sentence for case in CASES])
def test_rows_decide(pod: Datapath, version: int, direction: str, case: Case) -> None:
    name = "b" if direction == "INGRESS" else "a"
    judge = pod.enforce(name, f"{direction}_ENFORCED")
    peer = pod.a if direction == "INGRESS" else pod.b
    pod.classify(peer.identity, A_CLASS)
    for row in case.rows:
        fields = {key: value for key, value in msgspec.structs.asdict(row).items() if value}
        verdict = fields.pop("verdict")
        if verdict == "UNKNOWN":
            pod.rule(judge, direction, "ALLOW", **fields)
            _overwrite_verdict(pod, 99)
        else:
            pod.rule(judge, direction, verdict, **fields)

    result = pod.run("pod_from", _syn(pod, version))

    assert result.drop_reason == (C[case.drop] if case.drop else None)
    (verdict_event,) = result.of_type("POLICY_VERDICT")
    assert verdict_event["subtype"] == verdict_event["direction"] == C[f"POLICY_{direction}"]
    assert verdict_event["match"] == C[f"MATCH_{case.match}"]
    assert verdict_event["provenance"] == case.provenance
    assert verdict_event["policy"] == judge.policy
    expected = "EVENT_DROPPED" if case.drop else "EVENT_FORWARDED"
    assert verdict_event["verdict"] == C[expected]
    assert verdict_event["reason"] == (C[case.drop] if case.drop else 0)
    for drop in result.of_type("DROP"):
        assert drop["provenance"] == case.provenance
    assert len(pod.connections()) == (0 if case.drop else 1)


def test_both_policies_judge_a_local_connection(pod: Datapath, version: int) -> None:
    pod.enforce("a", "EGRESS_ENFORCED")
    pod.enforce("b", "INGRESS_ENFORCED")
    for one in (pod.a, pod.b):
        pod.classify(one.identity, A_CLASS)
    pod.rule(pod.a, "EGRESS", "ALLOW", provenance=21)
    pod.rule(pod.b, "INGRESS", "ALLOW", provenance=22)

    result = pod.run("pod_from", _syn(pod, version))

    directions = [event["direction"] for event in result.of_type("POLICY_VERDICT")]
    assert directions == [C["POLICY_EGRESS"], C["POLICY_INGRESS"]]
    assert pod.connections()[0]["provenance"] == [22, 21]


def test_a_drop_by_the_receiver_counts_as_ingress(pod: Datapath, version: int) -> None:
    pod.enforce("b", "INGRESS_ENFORCED")
    pod.classify(pod.a.identity, A_CLASS)
    pod.rule(pod.b, "INGRESS", "DEFAULT_DENY", provenance=5)

    pod.run("pod_from", _syn(pod, version))

    assert pod.counted(C["DROP_POLICY_DENIED"], "INGRESS")[0] == 1
    assert pod.counted(0, "INGRESS")[0] == 0


def test_an_identity_without_a_class_is_refused(pod: Datapath, version: int) -> None:
    pod.enforce("b", "INGRESS_ENFORCED")
    pod.rule(pod.b, "INGRESS", "ALLOW")

    assert pod.run("pod_from", _syn(pod, version)).drop_reason == C["DROP_INVALID_IDENTITY"]


@pytest.mark.parametrize("verdict", ["DENY", "DEFAULT_DENY"])
def test_audit_mode_reports_and_lets_pass(pod: Datapath, version: int, verdict: str) -> None:
    pod.enforce("b", "INGRESS_ENFORCED", "AUDIT")
    pod.classify(pod.a.identity, A_CLASS)
    pod.rule(pod.b, "INGRESS", verdict, provenance=31)

    result = pod.run("pod_from", _syn(pod, version))

    assert result.action == "redirect"
    (event,) = result.of_type("POLICY_VERDICT")
    assert (event["verdict"], event["provenance"]) == (C["EVENT_AUDIT"], 31)
    assert pod.connections()[0]["flags"] & C["CONNTRACK_AUDITED"]


def test_audit_mode_does_not_open_a_policy_that_is_not_in(pod: Datapath, version: int) -> None:
    pod.enforce("b", "INGRESS_ENFORCED", "AUDIT")
    pod.classify(pod.a.identity, A_CLASS)

    assert pod.run("pod_from", _syn(pod, version)).action == "drop"


def test_an_icmp_type_is_judged_like_a_port(pod: Datapath, version: int) -> None:
    protocol, kind = (1, 8) if version == 4 else (58, 128)
    pod.enforce("b", "INGRESS_ENFORCED")
    pod.classify(pod.a.identity, A_CLASS)
    pod.rule(pod.b, "INGRESS", "DEFAULT_DENY")
    pod.rule(pod.b, "INGRESS", "ALLOW", peer=A_CLASS, protocol=protocol, port=kind)
    echo = ICMP(id=5) if version == 4 else ICMPv6EchoRequest(id=5)
    other = ICMP(type=13) if version == 4 else ICMPv6EchoRequest(type=144)

    assert pod.run("pod_from", pod.frame(version, "a", "b") / echo).action == "redirect"
    refused = pod.run("pod_from", pod.frame(version, "a", "b") / other)
    assert refused.drop_reason == C["DROP_POLICY_DENIED"]


def test_a_policy_opens_one_direction_only(pod: Datapath, version: int) -> None:
    pod.enforce("b", "INGRESS_ENFORCED", "EGRESS_ENFORCED")
    pod.classify(pod.a.identity, A_CLASS)
    pod.rule(pod.b, "INGRESS", "ALLOW")
    pod.rule(pod.b, "EGRESS", "DEFAULT_DENY")

    assert pod.run("pod_from", _syn(pod, version)).action == "redirect"
    back = pod.frame(version, "b", "a") / UDP(sport=1000, dport=2000)
    assert pod.run("pod_from", back, device="lxcb").drop_reason == C["DROP_POLICY_DENIED"]


def test_the_reply_of_an_allowed_connection_needs_no_rule(pod: Datapath, version: int) -> None:
    pod.enforce("a", "INGRESS_ENFORCED")
    pod.enforce("b", "EGRESS_ENFORCED")
    pod.run("pod_from", _syn(pod, version))

    reply = pod.frame(version, "b", "a") / TCP(sport=80, dport=40000, flags="SA")

    assert pod.run("pod_from", reply, device="lxcb").action == "redirect"


def test_a_prefix_carries_its_own_class(pod: Datapath, version: int) -> None:
    network = "1.1.1.0/24" if version == 4 else "2606:4700::/32"
    pod.prefix("0.0.0.0/0" if version == 4 else "::/0", 9 if version == 4 else 10, OTHER_CLASS)
    pod.prefix(network, 0x01000001, A_CLASS)
    pod.enforce("a", "EGRESS_ENFORCED")
    pod.rule(pod.a, "EGRESS", "DEFAULT_DENY")
    pod.rule(pod.a, "EGRESS", "ALLOW", peer=A_CLASS)
    elsewhere = "9.9.9.9" if version == 4 else "2620:fe::fe"

    inside = pod.run("pod_from", pod.frame(version, "a", "world") / UDP())
    outside = pod.run("pod_from", pod.frame(version, "a", elsewhere) / UDP())

    assert inside.action == "redirect"
    assert inside.of_type("TRACE")[0]["destination_identity"] == 0x01000001
    assert outside.drop_reason == C["DROP_POLICY_DENIED"]


def _syn(pod: Datapath, version: int) -> Packet:
    return pod.frame(version, "a", "b") / TCP(sport=40000, dport=80, flags="S")


def _overwrite_verdict(pod: Datapath, verdict: int) -> None:
    keys, rows = pod.maps["policy"].entries()
    rows["verdict"] = verdict
    pod.maps["policy"].put(keys, rows)
