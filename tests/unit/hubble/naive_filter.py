"""Hubble's filters, field by field on one flow.Flow: slow and plain."""

import ipaddress
import re
from typing import Any

from cilia.hubble.proto.flow import flow_pb2

Flow, FlowFilter = flow_pb2.Flow, flow_pb2.FlowFilter


def address_passes(wanted: str, seen: str) -> bool:
    if not seen:
        return False
    if "/" not in wanted:
        return ipaddress.ip_address(wanted) == ipaddress.ip_address(seen)
    return ipaddress.ip_address(seen) in ipaddress.ip_network(wanted, strict=False)


def pod_passes(wanted: str, side: flow_pb2.Endpoint) -> bool:
    namespace, prefix = wanted.split("/", 1) if "/" in wanted else ("default", wanted)
    if not side.namespace and not side.pod_name:
        return False
    return (not namespace or namespace == side.namespace) and side.pod_name.startswith(prefix)


def labels_pass(selector: str, labels: list[str]) -> bool:
    """Selectors as the test writes them: `[!][source:]key[=value]`, joined by commas."""
    for part in selector.split(","):
        negated, part = part.startswith("!"), part.removeprefix("!")
        if "!=" in part:
            negated, part = True, part.replace("!=", "=")
        shown = [label if ":" in part else label.split(":", 1)[1] for label in labels]
        met = part in shown if "=" in part else part in [one.split("=")[0] for one in shown]
        if met == negated:
            return False
    return True


def protocol_passes(wanted: str, flow: Flow) -> bool:
    used = flow.l4.WhichOneof("protocol") or ""
    return wanted.lower() in (used.lower(), "icmp" if used.startswith("ICMP") else "")


def port_passes(wanted: str, side: str, flow: Flow) -> bool:
    used = flow.l4.WhichOneof("protocol")
    return used in ("TCP", "UDP", "SCTP") and wanted == str(
        getattr(getattr(flow.l4, used), f"{side}_port")
    )


def flags_pass(wanted: flow_pb2.TCPFlags, flow: Flow) -> bool:
    flags = flow.l4.TCP.flags
    return flow.l4.HasField("TCP") and all(
        getattr(flags, field.name) for field, on in wanted.ListFields() if on
    )


def reply_passes(wanted: bool, flow: Flow) -> bool:
    if flow.HasField("is_reply"):
        return flow.is_reply.value == wanted
    return flow.verdict == flow_pb2.DROPPED and not wanted


def event_passes(wanted: flow_pb2.EventTypeFilter, flow: Flow) -> bool:
    seen = flow.event_type
    return wanted.type in (0, seen.type) and (
        not wanted.match_sub_type or wanted.sub_type == seen.sub_type
    )


def node_passes(wanted: str, flow: Flow) -> bool:
    cluster, _, node = wanted.rpartition("/")
    mine, _, name = flow.node_name.rpartition("/")
    parts = [(cluster, mine or "default"), (node, name)]
    return all(
        not pattern or re.fullmatch(pattern.replace(".", r"\.").replace("*", "[-.0-9a-z]*"), text)
        for pattern, text in parts
    )


def interface_passes(wanted: flow_pb2.NetworkInterface, flow: Flow) -> bool:
    return (
        flow.HasField("interface")
        and wanted.index in (0, flow.interface.index)
        and wanted.name in ("", flow.interface.name)
    )


def value_passes(field: str, value: Any, flow: Flow) -> bool:
    """Whether one value of one field matches."""
    side, _, of_side = field.partition("_")
    if side in ("source", "destination"):
        end = getattr(flow, side)
        return bool(
            {
                "ip": lambda: address_passes(value, getattr(flow.IP, side)),
                "port": lambda: port_passes(value, side, flow),
                "identity": lambda: end.identity == value,
                "pod": lambda: pod_passes(value, end),
                "label": lambda: labels_pass(value, list(end.labels)),
                "cluster_name": lambda: end.cluster_name == value,
                "workload": lambda: any(
                    value.name in ("", one.name) and value.kind in ("", one.kind)
                    for one in end.workloads
                ),
                "fqdn": lambda: value in getattr(flow, f"{side}_names"),
                "service": lambda: getattr(flow, f"{side}_service").name.startswith(value),
                "ip_xlated": lambda: value == flow.IP.source_xlated,
            }[of_side]()
        )
    return bool(
        {
            "uuid": lambda: flow.uuid == value,
            "verdict": lambda: flow.verdict == value,
            "drop_reason_desc": lambda: (
                flow.verdict == flow_pb2.DROPPED and flow.drop_reason_desc == value
            ),
            "traffic_direction": lambda: flow.traffic_direction == value,
            "event_type": lambda: event_passes(value, flow),
            "protocol": lambda: protocol_passes(value, flow),
            "ip_version": lambda: flow.IP.ipVersion == value,
            "tcp_flags": lambda: flags_pass(value, flow),
            "reply": lambda: reply_passes(value, flow),
            "encrypted": lambda: flow.IP.encrypted == value,
            "interface": lambda: interface_passes(value, flow),
            "node_name": lambda: node_passes(value, flow),
            "node_labels": lambda: labels_pass(value, [f":{x}" for x in flow.node_labels]),
            "http_status_code": lambda: str(flow.l7.http.code) == value,
            "http_method": lambda: flow.l7.http.method == value,
            "http_path": lambda: flow.l7.HasField("http"),
            "http_url": lambda: flow.l7.HasField("http"),
            "http_header": lambda: value in flow.l7.http.headers,
            "dns_query": lambda: flow.l7.HasField("dns"),
            "trace_id": lambda: flow.trace_context.parent.trace_id == value,
            "ip_trace_id": lambda: flow.ip_trace_id.trace_id == value,
        }[field]()
    )


def passes(wanted: FlowFilter, flow: Flow) -> bool:
    """Whether a flow matches a filter: its fields AND, the values of one OR."""
    return all(
        any(value_passes(field.name, value, flow) for value in values)
        for field, values in wanted.ListFields()
    )
