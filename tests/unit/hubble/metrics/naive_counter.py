"""Hubble's metrics, counted one flow.Flow after the other: slow and plain."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from cilia.hubble.proto.flow import flow_pb2

Flow = flow_pb2.Flow
Options = Mapping[str, list[str]]
Series = frozenset[tuple[str, str]]
Counts = dict[str, Counter[Series]]

TRACE_POINTS = {
    "TO_ENDPOINT": "to-endpoint", "TO_PROXY": "to-proxy", "TO_HOST": "to-host",
    "TO_STACK": "to-stack", "TO_OVERLAY": "to-overlay", "FROM_ENDPOINT": "from-endpoint",
    "FROM_PROXY": "from-proxy", "FROM_HOST": "from-host", "FROM_STACK": "from-stack",
    "FROM_OVERLAY": "from-overlay", "FROM_NETWORK": "from-network", "TO_NETWORK": "to-network",
}  # fmt: skip
MATCHES = ["none", "l3-only", "l3-l4", "l4-only", "all", "l3-proto", "proto-only"]
WORLDS = ["reserved:world", "reserved:world-ipv4", "reserved:world-ipv6"]


def protocol_of(flow: Flow) -> str:
    if flow.event_type.type == 129:
        return {"dns": "DNS", "http": "HTTP", "kafka": "Kafka"}.get(
            flow.l7.WhichOneof("record") or "", "Unknown L7"
        )
    return packet_protocol(flow)


def packet_protocol(flow: Flow) -> str:
    return flow.l4.WhichOneof("protocol") or "Unknown flow"


def direction_of(flow: Flow, unknown: str) -> str:
    name = flow_pb2.TrafficDirection.Name(flow.traffic_direction).lower()
    return unknown if name == "traffic_direction_unknown" else name


def verdict_of(flow: Flow) -> str:
    return flow_pb2.Verdict.Name(flow.verdict)


def went_on(flow: Flow) -> bool:
    return verdict_of(flow) in ("FORWARDED", "REDIRECTED")


def identified(way: str, flow: Flow, end: str) -> str:
    side, address = getattr(flow, end), getattr(flow.IP, end)
    space = f"{side.namespace}/" if side.namespace else ""
    workload = side.workloads[0].name if side.workloads else ""
    labels = list(side.labels)
    if way == "identity":
        return ",".join(labels)
    if way == "namespace":
        return side.namespace
    if way == "pod":
        return space + side.pod_name
    if way == "pod-name":
        return side.pod_name
    if way == "ip":
        return address
    if way == "reserved-identity":
        reserved = [label for label in labels if label.startswith("reserved:")]
        server = "reserved:kube-apiserver"
        return server if server in reserved else "".join(reserved[:1])
    if way == "workload":
        return workload and space + workload
    if way == "workload-name":
        return workload
    if way == "app":
        keys = ("k8s:app.kubernetes.io/name", "k8s:k8s-app", "k8s:app")
        found = [label.split("=", 1)[1] for label in labels if label.split("=")[0] in keys]
        return next((value for value in found if value), "")
    assert way == "dns", way
    return ",".join(getattr(flow, f"{end}_names"))


def context_labels(options: Options, flow: Flow, swapped: bool = False) -> dict[str, str]:
    found: dict[str, str] = {}
    shown = {}
    for side in ("source", "destination"):
        ways = options.get(f"{side}Context", [])
        if flow.traffic_direction == flow_pb2.INGRESS:
            ways = options.get(f"{side}IngressContext") or ways
        if flow.traffic_direction == flow_pb2.EGRESS:
            ways = options.get(f"{side}EgressContext") or ways
        values = (identified(way, flow, side) for way in ways)
        if any(options.get(f"{side}{word}Context") for word in ("", "Ingress", "Egress")):
            shown[side] = next((value for value in values if value), "")
    ends = {"source": "destination", "destination": "source"} if swapped else {}
    for label in options.get("labelsContext", []):
        if label == "traffic_direction":
            found[label] = direction_of(flow, "unknown")
            continue
        side, kind = label.split("_", 1)
        side = ends.get(side, side)
        end = getattr(flow, side)
        if kind == "workload_kind":
            found[label] = end.workloads[0].kind if end.workloads else ""
        else:
            way = {"pod": "pod-name", "workload": "workload-name"}.get(kind, kind)
            found[label] = identified(way, flow, side)
    return found | {side: shown[ends.get(side, side)] for side in shown}


def of_flow(flow: Flow, options: Options) -> Iterable[tuple[str, dict[str, str]]]:
    kind = flow.event_type.type
    names = {1: "Drop", 3: "Capture", 4: "Trace", 5: "PolicyVerdict", 129: "L7"}
    subtype = "" if kind in names else str(kind)
    if kind == 4:
        point = flow_pb2.TraceObservationPoint.Name(flow.trace_observation_point)
        subtype = TRACE_POINTS.get(point, "")
    if kind == 129 and protocol_of(flow) != "Unknown L7":
        subtype = protocol_of(flow)
    yield (
        "hubble_flows_processed_total",
        {
            "protocol": protocol_of(flow),
            "type": names.get(kind, "Unknown"),
            "subtype": subtype,
            "verdict": verdict_of(flow),
        },
    )


def of_drop(flow: Flow, options: Options) -> Iterable[tuple[str, dict[str, str]]]:
    if verdict_of(flow) == "DROPPED":
        reason = flow_pb2.DropReason.Name(flow.drop_reason_desc)
        yield "hubble_drop_total", {"reason": reason, "protocol": protocol_of(flow)}


def of_tcp(flow: Flow, options: Options) -> Iterable[tuple[str, dict[str, str]]]:
    flags = flow.l4.TCP.flags
    if went_on(flow) and flow.l4.HasField("TCP") and flow.HasField("IP"):
        seen = {"FIN": flags.FIN, "SYN": flags.SYN and not flags.ACK, "RST": flags.RST}
        seen["SYN-ACK"] = flags.SYN and flags.ACK
        for flag in [name for name, on in seen.items() if on]:
            family = flow_pb2.IPVersion.Name(flow.IP.ipVersion)
            yield "hubble_tcp_flags_total", {"flag": flag, "family": family}


def of_port(flow: Flow, options: Options) -> Iterable[tuple[str, dict[str, str]]]:
    protocol = packet_protocol(flow)
    is_known_request = flow.HasField("is_reply") and not flow.is_reply.value
    if went_on(flow) and is_known_request and protocol != "Unknown flow":
        port = getattr(getattr(flow.l4, protocol), "destination_port", 0)
        yield "hubble_port_distribution_total", {"protocol": protocol, "port": str(port)}


def of_icmp(flow: Flow, options: Options) -> Iterable[tuple[str, dict[str, str]]]:
    for protocol, family in (("ICMPv4", "IPv4"), ("ICMPv6", "IPv6")):
        if packet_protocol(flow) == protocol:
            kind = flow.Summary.removeprefix(f"{protocol} ")
            yield "hubble_icmp_total", {"family": family, "type": kind}


def of_policy(flow: Flow, options: Options) -> Iterable[tuple[str, dict[str, str]]]:
    kind = flow.event_type.type
    if kind == 5 and flow.source.identity != 1:
        match = MATCHES[flow.policy_match_type]
    elif kind == 129:
        match = f"l7/{flow.l7.WhichOneof('record') or ''}"
    else:
        return
    yield (
        "hubble_policy_verdicts_total",
        {
            "direction": direction_of(flow, "traffic_direction_unknown"),
            "match": match,
            "action": verdict_of(flow).lower(),
        },
    )


def of_world(flow: Flow, options: Options) -> Iterable[tuple[str, dict[str, str]]]:
    reply = flow.HasField("is_reply") and flow.is_reply.value
    if not set(WORLDS) & set(flow.destination.labels) or packet_protocol(flow) == "Unknown flow":
        return
    if verdict_of(flow) == "DROPPED":
        if "any-drop" not in options and flow.drop_reason_desc != flow_pb2.POLICY_DENIED:
            return
    elif reply:
        return
    if "syn-only" in options and (not flow.l4.TCP.flags.SYN or reply):
        return
    labels = {"protocol": protocol_of(flow), "verdict": verdict_of(flow)}
    if "port" in options:
        used = getattr(flow.l4, packet_protocol(flow))
        labels["port"] = str(getattr(used, "destination_port", ""))
    yield "hubble_flows_to_world_total", labels


def of_policy_name(flow: Flow, options: Options) -> Iterable[tuple[str, dict[str, str]]]:
    if flow.event_type.type != 5:
        return
    said = [
        *flow.ingress_allowed_by, *flow.ingress_denied_by,
        *flow.egress_allowed_by, *flow.egress_denied_by,
    ]  # fmt: skip
    for kind, namespace, name in {(one.kind, one.namespace, one.name) for one in said}:
        yield (
            "hubble_policy_verdicts_by_policy_total",
            {
                "kind": kind,
                "namespace": namespace,
                "policy": name,
                "direction": direction_of(flow, "unknown"),
                "verdict": verdict_of(flow).lower(),
            },
        )


RULES: dict[str, Callable[[Flow, Options], Iterable[tuple[str, dict[str, str]]]]] = {
    "flow": of_flow,
    "drop": of_drop,
    "tcp": of_tcp,
    "port-distribution": of_port,
    "icmp": of_icmp,
    "policy": of_policy,
    "flows-to-world": of_world,
    "policy-name": of_policy_name,
}


def counted(plugin: str, options: Options, flows: Iterable[Flow]) -> Counter[tuple[str, Series]]:
    """How often each series of one plugin would have been incremented."""
    found: Counter[tuple[str, Series]] = Counter()
    for flow in flows:
        for metric, labels in RULES[plugin](flow, options):
            everything = labels | context_labels(options, flow)
            found[metric, frozenset(everything.items())] += 1
    return found
