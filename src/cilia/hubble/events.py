"""One record of the datapath as an event with names, ready to be printed or sent."""

import time
from datetime import UTC, datetime
from ipaddress import IPv6Address
from typing import Any

import numpy as np

from cilia.hubble.ports import Names, PolicyRef
from cilia.model.reasons import (
    POLICY_MATCHES,
    SOCKET_POINTS,
    TRACE_POINTS,
    TRACE_REASONS,
    drop_reason,
)

Json = dict[str, Any]

DROP, TRACE, POLICY_VERDICT, TRACE_SOCK = 1, 4, 5, 7
TYPE_NAMES = {
    DROP: "drop",
    TRACE: "trace",
    POLICY_VERDICT: "policy-verdict",
    TRACE_SOCK: "trace-sock",
}
SOCK_PRE_FORWARD, SOCK_POST_FORWARD, SOCK_PRE_REVERSE, SOCK_POST_REVERSE = 1, 2, 3, 4
"""`enum sock_point` of bpf/lib/event.h."""
SOCK_FILE = 3
"""`FILE_SOCK` there: who writes about calls, not about packets."""
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
DIRECTIONS = ("ingress", "egress")
ACTIONS = {1: "allow", 2: "deny", 4: "audit", 5: "redirect"}
FILES = {
    1: "pod.bpf.c",
    2: "host.bpf.c",
    3: "sock.bpf.c",
    4: "packet.h",
    5: "parse.h",
    6: "transport.h",
    7: "neighbour.h",
    8: "policy.h",
    9: "connection.h",
    10: "forward.h",
    11: "rewrite.h",
    12: "masquerade.h",
    13: "headers.h",
    14: "related.h",
}
"""`enum source_file` of bpf/lib/event.h, as people look for the files."""
INVALID_SOURCE = 132
POLICY_DENIED, POLICY_DENY = 133, 181


def wall_clock_offset_ns() -> int:
    """What must be added to a record's monotonic time to make it Unix time, in ns."""
    return time.time_ns() - time.monotonic_ns()


def address_text(raw: bytes) -> str:
    """Sixteen bytes as text; IPv4 in its own form.

    >>> address_text(bytes(10) + b"\\xff\\xff\\x0a\\x00\\x01\\x02")
    '10.0.1.2'
    """
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def tcp_flags_text(flags: int) -> str:
    """`SYN, ACK`, in the header's order from the low bit.

    >>> tcp_flags_text(0x12)
    'SYN, ACK'
    """
    return ", ".join(name for bit, name in enumerate(TCP_FLAGS) if flags >> bit & 1)


def event_of(record: np.void, names: Names, offset_ns: int) -> Json:
    """One record as a JSON object.

    Args:
        record: One row of `struct event_record`.
        names: Look-ups.
        offset_ns: See `wall_clock_offset_ns`.

    Returns:
        `type` is drop, trace or policy-verdict; `subtype` the drop reason's text, the
        trace point, or the direction; `policies` the rules that decided.

    Source:
        bpf/lib/event.h, `struct event_record`.
    """
    kind, subtype = int(record["type"]), int(record["subtype"])
    protocol, line = int(record["protocol"]), int(record["line"])
    event: Json = {
        "time": time_text(int(record["time"]) + offset_ns),
        "type": TYPE_NAMES.get(kind, str(kind)),
        "subtype": _subtype(kind, subtype),
        "flow": f"{int(record['hash']):#x}",
        "source": _side(record, "source", names),
        "destination": _side(record, "destination", names),
        "protocol": PROTOCOLS.get(protocol, str(protocol)),
        "protocol_number": protocol,
        "tcp_flags": tcp_flags_text(int(record["tcp_flags"])) if protocol == 6 else "",
        "icmp": _icmp(record) if protocol in (1, 58) else "",
        "direction": DIRECTIONS[int(record["direction"]) & 1],
        "ifindex": int(record["ifindex"]),
        "length": int(record["length"]),
        "file": f"{FILES.get(int(record['file']), '?')}:{line}" if line else "",
    }
    if kind == TRACE:
        event["reason"] = TRACE_REASONS.get(int(record["reason"]), "unknown")
    if kind == POLICY_VERDICT:
        event["match"] = POLICY_MATCHES.get(int(record["match"]), "unknown")
        event["action"] = ACTIONS.get(int(record["verdict"]), "unknown")
    if kind == DROP:
        event["reason_code"] = subtype
    if kind not in (TRACE, TRACE_SOCK):
        event |= _decision(record, names)
    return event


def _decision(record: np.void, names: Names) -> Json:
    """The rules that allowed, denied or closed; empty where none had a say."""
    policies = names.policies(int(record["provenance"]))
    if not policies:
        return {"policies": []}
    kind, subtype, match = (int(record[name]) for name in ("type", "subtype", "match"))
    closed = (
        (kind == DROP and subtype == POLICY_DENIED)
        or (kind == POLICY_VERDICT and record["verdict"] == 2 and match == 0)
        or any(ref.verdict == "default-deny" for ref in policies)
    )
    denied = (
        (kind == DROP and subtype == POLICY_DENY)
        or record["verdict"] == 2
        or any(ref.verdict == "deny" for ref in policies)
    )
    word = "closed by" if closed else "denied by" if denied else "allowed by"
    return {"because": word, "policies": [_policy(ref) for ref in policies]}


def _policy(ref: PolicyRef) -> Json:
    named = {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}
    optional = {
        "rule": ref.rule,
        "direction": ref.direction,
        "path": ref.path,
        "verdict": ref.verdict,
        "log": ref.log,
        "place": ref.place,
    }
    return named | {name: value for name, value in optional.items() if value not in (None, "")}


def _side(record: np.void, side: str, names: Names) -> Json:
    identity, endpoint = int(record[f"{side}_identity"]), int(record[f"{side}_endpoint"])
    address = address_text(bytes(record[side]))
    known = names.endpoint(endpoint) if endpoint else None
    return {
        "ip": address,
        "port": int(record[f"{side}_port"]),
        "identity": identity,
        "labels": list(names.labels(identity)),
        "endpoint": endpoint,
        "pod": known.pod if known else names.pod_at(address, identity),
    }


def _subtype(kind: int, subtype: int) -> str:
    if kind == DROP:
        return drop_reason(subtype).text
    if kind == TRACE:
        return TRACE_POINTS.get(subtype, f"point {subtype}")
    if kind == TRACE_SOCK:
        return SOCKET_POINTS.get(subtype, f"point {subtype}")
    return DIRECTIONS[subtype & 1]


def _icmp(record: np.void) -> str:
    return f"type {int(record['icmp_type'])} code {int(record['icmp_code'])}"


def time_text(unix_ns: int) -> str:
    """A moment as events have it: RFC 3339, UTC, to the nanosecond."""
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"
