"""Whether a flow passes a FlowFilter, for flows that come from a file.

An observer answers the same question on columns. Source: `flow.FlowFilter` of
api/v1/flow/flow.proto of Hubble 1.19.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from cilia.cli.errors import ClientError
from cilia.hubble.proto.flow.flow_pb2 import DROPPED, Flow, FlowFilter

Test = Callable[[Flow, Any], bool]

NOT_HERE = "an observer knows it, a file does not: leave this filter out"


def matches(flow: Flow, wanted: FlowFilter) -> bool:
    """Whether every field that is set has a value that fits.

    Raises:
        ClientError: a filter that cannot be answered from a file, or is not understood.
    """
    for field, values in wanted.ListFields():
        test = TESTS.get(field.name)
        if test is None:
            raise ClientError(f"no filter by {field.name} in files", NOT_HERE)
        try:
            if not any(test(flow, value) for value in values):
                return False
        except (ValueError, re.error) as error:
            raise ClientError(f"filter {field.name}: {error}") from None
    return True


def is_address(end: str) -> Test:
    """An address itself, or a network it lies in."""

    def test(flow: Flow, wanted: str) -> bool:
        address: str = getattr(flow.IP, end)
        if not address or "/" not in wanted:
            return bool(address) and ip_address(address) == ip_address(wanted)
        return ip_address(address) in ip_network(wanted, strict=False)

    return test


def is_named(namespace: str, name: str, wanted: str) -> bool:
    """`[ns/]prefix`: without a slash in `default`, with `/` in front in any namespace."""
    if not wanted:
        raise ValueError("an empty name fits nothing")
    space, slash, prefix = wanted.partition("/")
    if not slash:
        space, prefix = "default", wanted
    if not namespace and not name:
        return False
    return (not space or namespace == space) and name.startswith(prefix)


def _of_pod(end: str) -> Test:
    def test(flow: Flow, wanted: str) -> bool:
        pod = getattr(flow, end)
        return is_named(pod.namespace, pod.pod_name, wanted)

    return test


def _of_service(end: str) -> Test:
    def test(flow: Flow, wanted: str) -> bool:
        service = getattr(flow, f"{end}_service")
        return is_named(service.namespace, service.name, wanted)

    return test


def _of_workload(end: str) -> Test:
    def test(flow: Flow, wanted: Any) -> bool:
        return any(
            wanted.name in ("", one.name) and wanted.kind in ("", one.kind)
            for one in getattr(flow, end).workloads
        )

    return test


def _of_port(end: str) -> Test:
    def test(flow: Flow, wanted: str) -> bool:
        kind = flow.l4.WhichOneof("protocol")
        if kind not in ("TCP", "UDP", "SCTP"):
            return False
        return bool(int(wanted) == getattr(getattr(flow.l4, kind), f"{end}_port"))

    return test


def _of_names(end: str) -> Test:
    def test(flow: Flow, wanted: str) -> bool:
        pattern = re.compile(glob(wanted.rstrip(".").lower()))
        return any(pattern.fullmatch(name.rstrip(".").lower()) for name in getattr(flow, end))

    return test


def glob(pattern: str) -> str:
    """A DNS pattern as a regular expression: `*` is any run of letters, digits, `-`, `.`."""
    return "[-.0-9a-z]*".join(re.escape(part) for part in pattern.split("*"))


def _is_node(flow: Flow, wanted: str) -> bool:
    cluster, _, node = wanted.rpartition("/")
    of_flow, _, name = flow.node_name.rpartition("/")
    in_cluster = not cluster or bool(re.fullmatch(glob(cluster), of_flow or "default"))
    return in_cluster and (not node or bool(re.fullmatch(glob(node), name)))


def _is_event(flow: Flow, wanted: Any) -> bool:
    kind = flow.event_type
    return wanted.type in (0, kind.type) and (
        not wanted.match_sub_type or wanted.sub_type == kind.sub_type
    )


def _is_protocol(flow: Flow, wanted: str) -> bool:
    name = (flow.l4.WhichOneof("protocol") or "").lower()
    record = flow.l7.WhichOneof("record") or ""
    return wanted.lower() in (name, record) or (wanted.lower() == "icmp" and "icmp" in name)


def _is_reply(flow: Flow, wanted: bool) -> bool:
    if flow.HasField("is_reply"):
        return bool(flow.is_reply.value == wanted)
    return flow.verdict == DROPPED and not wanted


def _has_flags(flow: Flow, wanted: Any) -> bool:
    flags = flow.l4.TCP.flags
    return all(getattr(flags, field.name) for field, _ in wanted.ListFields())


def _is_status(flow: Flow, wanted: str) -> bool:
    code = str(flow.l7.http.code or "")
    return code.startswith(wanted[:-1]) if wanted.endswith("+") and code else code == wanted


def _is_interface(flow: Flow, wanted: Any) -> bool:
    here = flow.interface
    return wanted.index in (0, here.index) and wanted.name in ("", here.name)


def _path(flow: Flow) -> str:
    return re.sub(r"^\w+://[^/]*", "", flow.l7.http.url).partition("?")[0]


TESTS: dict[str, Test] = {
    "uuid": lambda flow, wanted: flow.uuid == wanted,
    "source_ip": is_address("source"),
    "destination_ip": is_address("destination"),
    "source_ip_xlated": is_address("source_xlated"),
    "ip_version": lambda flow, wanted: flow.IP.ipVersion == wanted,
    "source_pod": _of_pod("source"),
    "destination_pod": _of_pod("destination"),
    "source_service": _of_service("source"),
    "destination_service": _of_service("destination"),
    "source_workload": _of_workload("source"),
    "destination_workload": _of_workload("destination"),
    "source_fqdn": _of_names("source_names"),
    "destination_fqdn": _of_names("destination_names"),
    "source_port": _of_port("source"),
    "destination_port": _of_port("destination"),
    "source_identity": lambda flow, wanted: flow.source.identity == wanted,
    "destination_identity": lambda flow, wanted: flow.destination.identity == wanted,
    "source_cluster_name": lambda flow, wanted: flow.source.cluster_name == wanted,
    "destination_cluster_name": lambda flow, wanted: flow.destination.cluster_name == wanted,
    "verdict": lambda flow, wanted: flow.verdict == wanted,
    "drop_reason_desc": lambda flow, wanted: (
        flow.verdict == DROPPED and flow.drop_reason_desc == wanted
    ),
    "traffic_direction": lambda flow, wanted: flow.traffic_direction == wanted,
    "event_type": _is_event,
    "protocol": _is_protocol,
    "reply": _is_reply,
    "encrypted": lambda flow, wanted: flow.IP.encrypted == wanted,
    "tcp_flags": _has_flags,
    "interface": _is_interface,
    "node_name": _is_node,
    "trace_id": lambda flow, wanted: flow.trace_context.parent.trace_id == wanted,
    "ip_trace_id": lambda flow, wanted: flow.ip_trace_id.trace_id == wanted,
    "dns_query": lambda flow, wanted: bool(re.search(wanted, flow.l7.dns.query)),
    "http_status_code": _is_status,
    "http_method": lambda flow, wanted: flow.l7.http.method.lower() == wanted.lower(),
    "http_path": lambda flow, wanted: bool(_path(flow)) and bool(re.search(wanted, _path(flow))),
    "http_url": lambda flow, wanted: bool(re.search(wanted, flow.l7.http.url)),
    "http_header": lambda flow, wanted: any(
        (one.key, one.value) == (wanted.key, wanted.value) for one in flow.l7.http.headers
    ),
}
"""How each field of a filter is compared; labels and CEL are for an observer to answer."""
