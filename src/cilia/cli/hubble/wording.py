"""A flow in words: who, to whom, where it was seen, the verdict.

Source: api/v1/flow/flow.proto of Hubble 1.19, and the layout of its `observe`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from cilia.hubble.proto.flow.flow_pb2 import (
    AuthType,
    DebugCapturePoint,
    Endpoint,
    Flow,
    L7FlowType,
    Service,
    SocketTranslationPoint,
    TrafficDirection,
    Verdict,
)
from cilia.model.reasons import POLICY_MATCHES, TRACE_POINTS, drop_reason
from cilia.model.reserved import ReservedIdentity

Side = Literal["source", "destination"]

DROP, CAPTURE, TRACE, POLICY_VERDICT, TRACE_SOCK, L7 = 1, 3, 4, 5, 7, 129
ARROWS = {None: "<>", False: "->", True: "<-"}
VERDICTS_OF_POLICY = {"FORWARDED": "ALLOWED", "DROPPED": "DENIED", "AUDIT": "AUDITED"}


class Names(msgspec.Struct, frozen=True):
    """Which names may stand for numbers: `numeric` none, `pods` those of pods and services."""

    numeric: bool = False
    pods: bool = True


def host(flow: Flow, side: Side, names: Names) -> tuple[str, str]:
    """(who, port) of a side: pod, service, DNS names, address or MAC; port empty without one."""
    end: Endpoint = getattr(flow, side)
    service: Service = getattr(flow, f"{side}_service")
    address: str = getattr(flow.IP, side)
    heard: Sequence[str] = getattr(flow, f"{side}_names")
    if not address:
        return getattr(flow.ethernet, side) or _pod(end), ""
    who = f"[{address}]" if ":" in address else address
    port = _port(flow, side)
    if names.pods and not names.numeric:
        named = _pod(end) or _joined(service.namespace, service.name) or ",".join(heard)
        who = named or who
    return (who if port or not who.startswith("[") else address), port


def _pod(end: Endpoint) -> str:
    return _joined(end.namespace, end.pod_name)


def _joined(namespace: str, name: str) -> str:
    return "/".join(filter(None, (namespace, name))) if name else ""


def _port(flow: Flow, side: Side) -> str:
    kind = flow.l4.WhichOneof("protocol")
    if kind not in ("TCP", "UDP", "SCTP"):
        return ""
    number: int = getattr(getattr(flow.l4, kind), f"{side}_port")
    return str(number or "")


def identity(flow: Flow, side: Side) -> str:
    """`ID:123`, or the name of a reserved identity; `unknown` for none."""
    number: int = getattr(flow, side).identity
    try:
        return ReservedIdentity(number).label_name
    except ValueError:
        return f"ID:{number}"


def is_reply(flow: Flow) -> bool | None:
    """None where nobody knows."""
    return flow.is_reply.value if flow.HasField("is_reply") else None


def event_type(flow: Flow) -> str:
    """Trace point, drop reason, policy match, or the kind of request."""
    kind, sub = flow.event_type.type, flow.event_type.sub_type
    if kind == L7:
        return _request(flow)
    if kind == DROP:
        return drop_reason(sub).text
    if kind == TRACE:
        return TRACE_POINTS.get(sub, "UNKNOWN")
    if kind == POLICY_VERDICT:
        way = enum_name(TrafficDirection.Name, flow.traffic_direction)
        return f"policy-verdict:{POLICY_MATCHES.get(flow.policy_match_type, 'unknown')} {way}"
    if kind == TRACE_SOCK:
        return _socket_point(flow.sock_xlate_point or sub)
    if kind == CAPTURE:
        return enum_name(DebugCapturePoint.Name, flow.debug_capture_point)
    return "UNKNOWN"


def _socket_point(number: int) -> str:
    """`SOCK_XLATE_POINT_PRE_DIRECTION_FWD` as `pre-xlate-fwd`."""
    words = enum_name(SocketTranslationPoint.Name, number).removeprefix("SOCK_XLATE_POINT_")
    when, _, way = words.lower().partition("_direction_")
    return f"{when}-xlate-{way}" if way else "UNKNOWN"


def _request(flow: Flow) -> str:
    record = flow.l7.WhichOneof("record") or "l7"
    way = enum_name(L7FlowType.Name, flow.l7.type).lower()
    source = f" {flow.l7.dns.observation_source}" if record == "dns" else ""
    return f"{record}-{way}{source}".rstrip()


def enum_name(name_of: Callable[[Any], str], number: int) -> str:
    """The name of an enum's value; the number itself when it is newer than this client."""
    try:
        return name_of(number)
    except ValueError:
        return str(number)


def verdict(flow: Flow) -> str:
    """The verdict's name; what policy decided, on policy-verdict events."""
    name = enum_name(Verdict.Name, flow.verdict)
    if flow.event_type.type == POLICY_VERDICT:
        return VERDICTS_OF_POLICY.get(name, name)
    return name


def summary(flow: Flow) -> str:
    """One line about the packet or the request."""
    before = f"IP Trace ID: {flow.ip_trace_id.trace_id}; " if flow.HasField("ip_trace_id") else ""
    after = f"; Auth: {enum_name(AuthType.Name, flow.auth_type)}" if flow.auth_type else ""
    return f"{before}{flow.Summary}{after}"
