"""What handlers may ask of a flow, and the words that labels use for it.

Source:
    proto/flow/flow.proto; https://docs.cilium.io/en/stable/observability/metrics/
"""

import msgspec

from cilia.hubble.columns import EGRESS, INGRESS
from cilia.hubble.parties import Party
from cilia.hubble.ports import PolicyRef
from cilia.hubble.proto.flow import flow_pb2

FORWARDED, DROPPED, REDIRECTED = 1, 2, 5
L7 = 129
"""Type of an event about a request."""
PROTOCOLS = {
    1: "ICMPv4", 2: "IGMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 112: "VRRP", 132: "SCTP",
}  # fmt: skip
SOCKET = 7
"""Type of an event about a socket: there is no packet yet."""
UNKNOWN_FLOW = "Unknown flow"
WITH_PORTS = (6, 17, 132)
FAMILIES = {1: "IPv4", 2: "IPv6"}


class FlowFacts(msgspec.Struct, frozen=True):
    """One flow, or all flows that do not differ in what is asked here."""

    type: int
    sub_type: int
    verdict: int
    drop_reason: int
    protocol: int
    """Number of the IP protocol."""
    ip: int
    """flow.IPVersion."""
    tcp_flags: int
    icmp_type: int
    icmp_code: int
    reply: int
    """1, 0, or -1 where it is not known."""
    traffic: int
    """flow.TrafficDirection."""
    match: int
    source: Party
    destination: Party
    source_ip: str = ""
    destination_ip: str = ""
    source_names: tuple[str, ...] = ()
    """DNS names of the source."""
    destination_names: tuple[str, ...] = ()
    port: int = 0
    """Of the destination; 0 for replies, negative where it is not told."""
    policies: tuple[PolicyRef, ...] = ()
    is_judged: bool = False
    """Whether a rule decided, known by name or not."""
    layer7: flow_pb2.Layer7 | None = None
    trace_id: str = ""

    @property
    def is_forwarded(self) -> bool:
        """Whether it went on, to its destination or to a proxy."""
        return self.verdict in (FORWARDED, REDIRECTED)

    @property
    def request(self) -> str:
        """`dns`, `http` or `kafka`; empty where no request is known."""
        return (self.layer7.WhichOneof("record") or "") if self.layer7 else ""

    @property
    def protocol_name(self) -> str:
        """What was spoken: that of the request, else that of the packet."""
        if self.type == L7:
            return {"dns": "DNS", "http": "HTTP", "kafka": "Kafka"}.get(self.request, "Unknown L7")
        return self.packet_protocol

    @property
    def port_text(self) -> str:
        """The destination's port as a label; empty for what has no ports."""
        if self.protocol not in WITH_PORTS:
            return ""
        return str(self.port) if self.port >= 0 else "other"

    @property
    def packet_protocol(self) -> str:
        """What its packet was, also for a request; sockets have none."""
        return UNKNOWN_FLOW if self.type == SOCKET else PROTOCOLS.get(self.protocol, UNKNOWN_FLOW)

    @property
    def verdict_name(self) -> str:
        """As flow.Verdict spells it."""
        return _name(flow_pb2.Verdict, self.verdict)

    @property
    def reporter(self) -> str:
        """On which side of the request this node stands."""
        return {EGRESS: "client", INGRESS: "server"}.get(self.traffic, "unknown")


def direction_name(traffic: int, unknown: str) -> str:
    """`ingress`, `egress`, or the word for what is neither."""
    return {INGRESS: "ingress", EGRESS: "egress"}.get(traffic, unknown)


def drop_reason_name(number: int) -> str:
    """As flow.DropReason spells it."""
    known = number in flow_pb2.DropReason.values()
    return flow_pb2.DropReason.Name(number if known else 0)  # type: ignore[arg-type]  # an enum of the same numbers


def _name(enum: "type[flow_pb2.Verdict]", number: int) -> str:
    return enum.Name(number) if number in enum.values() else str(number)  # type: ignore[arg-type]  # an enum of the same numbers
