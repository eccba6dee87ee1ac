"""A stored row as flow.Flow, field by field."""

from typing import Any

import pytest

from cilia.hubble.flows import FlowMaker, number_of
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import RECORD, KnownNames, records


def flow_of(**fields: Any) -> flow_pb2.Flow:
    store = FlowStore(RECORD, 8, lambda index: "lxc12")
    store.add(records(1, **fields), 1_500_000_000)
    store.parties.join(KnownNames())
    return FlowMaker(store, KnownNames(), "default/node-1", "0.1.0").flow(0)


def test_a_trace() -> None:
    flow = flow_of(reason=2)
    assert (flow.time.seconds, flow.time.nanos) == (1, 500_000_001)
    assert flow.verdict == flow_pb2.FORWARDED
    assert flow.Type == flow_pb2.L3_L4
    assert (flow.is_reply.value, flow.reply) == (True, True)
    assert (flow.IP.source, flow.IP.destination) == ("10.0.1.5", "10.0.1.6")
    assert flow.IP.ipVersion == flow_pb2.IPv4
    assert (flow.l4.TCP.source_port, flow.l4.TCP.destination_port) == (40000, 80)
    assert flow.l4.TCP.flags == flow_pb2.TCPFlags(SYN=True)
    assert flow.source == flow_pb2.Endpoint(
        ID=7,
        identity=300,
        namespace="default",
        pod_name="xwing",
        labels=["k8s:class=xwing", "k8s:org=alliance"],
    )
    assert flow.trace_observation_point == flow_pb2.TO_ENDPOINT
    assert flow.trace_reason == flow_pb2.REPLY
    assert flow.interface == flow_pb2.NetworkInterface(index=12, name="lxc12")
    assert flow.event_type == flow_pb2.CiliumEventType(type=4, sub_type=0)
    assert flow.node_name == "default/node-1"
    assert flow.emitter == flow_pb2.Emitter(name="Hubble", version="0.1.0")
    assert flow.Summary == "TCP Flags: SYN"
    assert not flow.egress_allowed_by
    assert not flow.HasField("file")


def test_a_default_deny_names_what_closed_the_direction() -> None:
    flow = flow_of(type=1, subtype=133, direction=0, provenance=7, file=1, line=99)
    assert flow.verdict == flow_pb2.DROPPED
    assert (flow.drop_reason, flow.drop_reason_desc) == (133, flow_pb2.POLICY_DENIED)
    assert flow.traffic_direction == flow_pb2.INGRESS
    assert not flow.HasField("is_reply")
    assert (flow.file.name, flow.file.line) == ("pod.bpf.c", 99)
    (policy,) = flow.ingress_denied_by
    assert (policy.kind, policy.namespace, policy.name) == (
        "CiliumNetworkPolicy",
        "default",
        "rule1",
    )
    assert "cilia:verdict=default-deny" in policy.labels
    assert list(flow.policy_log) == ["why"]


def test_a_verdict_names_the_rule_that_allowed() -> None:
    flow = flow_of(type=5, subtype=1, direction=1, provenance=5, match=2)
    assert flow.verdict == flow_pb2.FORWARDED
    assert flow.traffic_direction == flow_pb2.EGRESS
    assert flow.policy_match_type == 2
    assert (flow.HasField("is_reply"), flow.is_reply.value) == (True, False)
    assert [policy.name for policy in flow.egress_allowed_by] == ["rule1"]
    assert flow.event_type == flow_pb2.CiliumEventType(type=5)


def test_an_explicit_deny_is_told_from_no_rule() -> None:
    denied = flow_of(type=5, verdict=2, match=1, reason=181, provenance=6)
    closed = flow_of(type=5, verdict=2, match=4, reason=133, provenance=7)
    assert denied.drop_reason_desc == flow_pb2.POLICY_DENY
    assert closed.drop_reason_desc == flow_pb2.POLICY_DENIED
    assert len(denied.ingress_denied_by) == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"protocol": 6, "tcp_flags": 0x19}, "TCP Flags: ACK, FIN, PSH"),
        ({"protocol": 17}, "UDP"),
        ({"protocol": 132}, "SCTP"),
        ({"protocol": 1, "icmp_type": 8}, "ICMPv4 EchoRequest"),
        ({"protocol": 1, "icmp_type": 3, "icmp_code": 3}, "ICMPv4 DestinationUnreachable(Port)"),
        ({"protocol": 58, "icmp_type": 129}, "ICMPv6 EchoReply"),
        ({"protocol": 58, "icmp_type": 200, "icmp_code": 1}, "ICMPv6 200(Code: 1)"),
    ],
)
def test_the_line_of_text(fields: dict[str, int], text: str) -> None:
    assert flow_of(**fields).Summary == text


def test_a_uuid_leads_back_to_its_flow_and_to_no_other_store() -> None:
    store = FlowStore(RECORD, 8)
    store.add(records(3), 0)
    made = FlowMaker(store, KnownNames(), "default/n", "0").flow(2)
    assert number_of(store.instance, made.uuid) == 2
    assert number_of(FlowStore(RECORD, 8).instance, made.uuid) is None
    assert number_of(store.instance, "nonsense") is None


def test_an_unreadable_packet_has_no_addresses() -> None:
    flow = flow_of(type=1, subtype=134, source=bytes(16), destination=bytes(16), protocol=0)
    assert not flow.HasField("IP")
    assert not flow.HasField("l4")
