"""The filter flags of `observe`: how one word becomes a value of a FlowFilter.

Source: api/v1/flow/flow.proto, `flow.FlowFilter`, of Hubble 1.19.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from cilia.model.reasons import DROP_REASONS, TRACE_POINTS
from cilia.model.reserved import ReservedIdentity

Json = Any

VERDICTS = ("FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED")
IP_VERSIONS = {"v4": "IPv4", "v6": "IPv6", "none": "IP_NOT_USED"}
DIRECTIONS = ("INGRESS", "EGRESS")
TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")
EVENT_TYPES = {
    "drop": 1,
    "debug": 2,
    "capture": 3,
    "trace": 4,
    "policy-verdict": 5,
    "trace-sock": 7,
    "l7": 129,
    "agent": 130,
}
SOCKET_POINTS = ("pre-xlate-fwd", "post-xlate-fwd", "pre-xlate-rev", "post-xlate-rev")
AGENT_EVENTS = {
    "agent-started": 2,
    "endpoint-regenerate-success": 3,
    "endpoint-regenerate-failure": 4,
    "policy-updated": 5,
    "policy-deleted": 6,
    "endpoint-created": 7,
    "endpoint-deleted": 8,
    "ipcache-upserted": 9,
    "ipcache-deleted": 10,
}
"""The monitor's numbers, which filters send; `flow.AgentEventType` has others."""
SUBTYPES: dict[int, dict[str, int]] = {
    1: {reason.name: code for code, reason in DROP_REASONS.items() if reason.is_drop},
    4: {name: point for point, name in TRACE_POINTS.items()},
    7: {name: number for number, name in enumerate(SOCKET_POINTS, start=1)},
    130: AGENT_EVENTS,
}


class FilterFlag(msgspec.Struct, frozen=True):
    """One flag and the field it fills.

    A flag that means either side fills `left` in one filter and `right` in another;
    every other flag has both the same. `constant` is what it says without a value.
    """

    name: str
    left: str
    right: str
    value: Callable[[str], Json] = str
    short: str = ""
    constant: str = ""
    metavar: str = "TEXT"
    help: str = ""


def event_type(text: str) -> Json:
    """`TYPE[:SUBTYPE]`, by name or number, as an EventTypeFilter.

    >>> event_type("trace:from-endpoint")
    {'type': 4, 'match_sub_type': True, 'sub_type': 5}

    Raises:
        ValueError: no such type.
    """
    word, colon, sub = text.partition(":")
    number = EVENT_TYPES.get(word, -1) if not word.isdigit() else int(word)
    if not 0 <= number <= 255:
        raise ValueError(f"no event type {word!r}: {', '.join(EVENT_TYPES)}, or a number")
    if not colon:
        return {"type": number}
    known = SUBTYPES.get(number, {})
    detail = int(sub) if sub.isdigit() else known.get(sub, -1)
    if detail < 0:
        raise ValueError(f"no kind {sub!r} of {word}: {', '.join(known) or 'a number'}")
    return {"type": number, "match_sub_type": True} | ({"sub_type": detail} if detail else {})


def identity(text: str) -> int:
    """A number, or a reserved name: `world`, `kube-apiserver`."""
    if text.isdigit() and int(text) < 1 << 32:
        return int(text)
    names = {one.label_name: int(one) for one in ReservedIdentity}
    if text not in names:
        raise ValueError(f"no identity {text!r}: a number, or one of {', '.join(names)}")
    return names[text]


def tcp_flags(text: str) -> Json:
    """`syn,ack`: all of these are set."""
    words = [word.strip().upper() for word in text.split(",")]
    return {_one_of(word, TCP_FLAGS, "TCP flag"): True for word in words}


def workload(text: str) -> Json:
    """`[Kind/]name`."""
    kind, _, name = text.rpartition("/")
    return {key: word for key, word in (("name", name), ("kind", kind)) if word} or {"name": text}


def http_header(text: str) -> Json:
    """`key:value`."""
    key, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not of the form key:value")
    return {"key": key.strip(), "value": value.strip()}


def trace_number(text: str) -> str:
    """An IP trace id; JSON writes 64 bits as text."""
    if not text.isdigit() or int(text) >= 1 << 64:
        raise ValueError(f"{text!r} is not a number of 64 bits")
    return str(int(text))


def ip_version(text: str) -> str:
    """`v4`, `v6` or `none`."""
    return IP_VERSIONS[_one_of(text.lower().removeprefix("ip"), tuple(IP_VERSIONS), "IP version")]


def _one_of(text: str, known: tuple[str, ...], what: str) -> str:
    if text not in known:
        raise ValueError(f"no {what} {text!r}: one of {', '.join(known)}")
    return text


def _verdict(text: str) -> str:
    return _one_of(text, VERDICTS, "verdict")


def _drop_reason(text: str) -> str:
    return _one_of(text, tuple(one.name for one in DROP_REASONS.values() if one.name), "reason")


def _direction(text: str) -> str:
    return _one_of(text.upper(), DIRECTIONS, "direction")


def _both_sides() -> list[FilterFlag]:
    kinds = (
        ("cluster", "cluster_name", str, "", "NAME", "name of the cluster"),
        ("fqdn", "fqdn", str, "", "PATTERN", "DNS name, with * as wildcard"),
        ("ip", "ip", str, "", "IP", "address or CIDR"),
        ("pod", "pod", str, "", "[NS/]POD", "pods whose name begins so"),
        ("namespace", "namespace", str, "n", "NS", "pods of this namespace"),
        ("label", "label", str, "l", "SELECTOR", "labels, as kubectl -l writes them"),
        ("service", "service", str, "", "[NS/]NAME", "services whose name begins so"),
        ("port", "port", str, "", "PORT", "port"),
        ("workload", "workload", workload, "", "[KIND/]NAME", "workload"),
        ("identity", "identity", identity, "", "ID", "identity, a number or a reserved name"),
    )
    found = []
    for name, field, value, short, metavar, text in kinds:
        ends = (f"source_{field}", f"destination_{field}")
        both = FilterFlag(name, *ends, value, short, "", metavar, f"{text}, at either side")
        found += [
            FilterFlag(f"from-{name}", ends[0], ends[0], value, "", "", metavar, f"{text}: source"),
            both,
            FilterFlag(f"to-{name}", ends[1], ends[1], value, "", "", metavar, f"{text}: target"),
        ]
    source, destination = "source_namespace", "destination_namespace"
    everywhere = "pods of every namespace"
    return [
        *found,
        FilterFlag(
            "from-all-namespaces", source, source, _no_namespace, "", "true", "", everywhere
        ),
        FilterFlag(
            "all-namespaces", source, destination, _no_namespace, "A", "true", "", everywhere
        ),
        FilterFlag(
            "to-all-namespaces", destination, destination, _no_namespace, "", "true", "", everywhere
        ),
    ]


def _no_namespace(_: str) -> str:
    return ""


def _is_true(_: str) -> bool:
    return True


def _is_false(_: str) -> bool:
    return False


def _plain() -> list[FilterFlag]:
    kinds: tuple[tuple[str, str, Callable[[str], Json], str, str, str, str], ...] = (
        ("uuid", "uuid", str, "", "", "UUID", "this flow"),
        ("node-name", "node_name", str, "", "", "PATTERN", "[cluster/]node that saw it"),
        ("node-label", "node_labels", str, "", "", "SELECTOR", "labels of that node"),
        ("protocol", "protocol", str, "", "", "NAME", "tcp, udp, icmp, dns, http …"),
        ("tcp-flags", "tcp_flags", tcp_flags, "", "", "FLAGS", "all of these are set: syn,ack"),
        ("type", "event_type", event_type, "t", "", "TYPE[:SUB]", ", ".join(EVENT_TYPES)),
        ("verdict", "verdict", _verdict, "", "", "VERDICT", ", ".join(VERDICTS)),
        ("drop-reason-desc", "drop_reason_desc", _drop_reason, "", "", "REASON", "POLICY_DENIED …"),
        ("http-status", "http_status_code", str, "", "", "CODE", "200, or 5+ for all of 5xx"),
        ("http-method", "http_method", str, "", "", "METHOD", "get, post …"),
        ("http-path", "http_path", str, "", "", "REGEX", "path of the URL"),
        ("http-url", "http_url", str, "", "", "REGEX", "the whole URL"),
        ("http-header", "http_header", http_header, "", "", "KEY:VALUE", "this header"),
        ("trace-id", "trace_id", str, "", "", "ID", "trace id of the request"),
        ("ip-trace-id", "ip_trace_id", trace_number, "", "", "NUMBER", "trace id in the IP header"),
        ("snat-ip", "source_ip_xlated", str, "", "", "IP", "address after masquerading"),
        ("ip-version", "ip_version", ip_version, "", "", "VERSION", "v4, v6 or none"),
        ("ipv4", "ip_version", ip_version, "4", "v4", "", "IPv4 only"),
        ("ipv6", "ip_version", ip_version, "6", "v6", "", "IPv6 only"),
        ("traffic-direction", "traffic_direction", _direction, "", "", "WAY", "ingress or egress"),
        ("cel-expression", "cel_expression", str, "", "", "CEL", "an expression over _flow"),
        ("interface", "interface", _interface, "", "", "NAME", "network interface"),
        ("encrypted", "encrypted", _is_true, "", "true", "", "encrypted only"),
        ("unencrypted", "encrypted", _is_false, "", "true", "", "not encrypted only"),
    )
    return [
        FilterFlag(name, field, field, value, short, constant, metavar, text)
        for name, field, value, short, constant, metavar, text in kinds
    ]


def _interface(text: str) -> Json:
    return {"name": text}


FLAGS: dict[str, FilterFlag] = {flag.name: flag for flag in (*_plain(), *_both_sides())}
"""Every filter flag, by its long name without dashes."""
