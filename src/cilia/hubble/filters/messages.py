"""flow.FlowFilter on single messages: for flows that come from a file.

Answers what `compile_filters` answers on columns; a test holds the two against each other.
"""

import ipaddress
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cilia.hubble.filters import requests
from cilia.hubble.filters.cel import STRIDE, Budget, Expressions
from cilia.hubble.filters.labels import parse_selector
from cilia.hubble.filters.layer7 import check_layer7
from cilia.hubble.filters.packet import PROTOCOLS, checked_port
from cilia.hubble.filters.party import checked_cluster, split_name
from cilia.hubble.filters.patterns import name_pattern, node_matches
from cilia.hubble.filters.terms import InvalidFilterError, Match, MatchMaker, any_match
from cilia.hubble.parties import SIDES
from cilia.hubble.proto.flow.flow_pb2 import DROPPED, EventTypeFilter, Flow, FlowFilter, Workload

ICMP = ("ICMPv4", "ICMPv6")
WITH_PORTS = ("TCP", "UDP", "SCTP")


def compile_message_filters(allow: Iterable[FlowFilter], deny: Iterable[FlowFilter]) -> Match:
    """Whether a flow matches one of `allow` (all, if empty) and none of `deny`.

    Raises:
        InvalidFilterError: A filter cannot be understood. What comes back raises it too,
            when an expression is too dear.
    """
    budget, seen = Budget(), itertools.count()
    allowed = [_compile(one, budget) for one in allow]
    denied = any_match([_compile(one, budget) for one in deny])
    permitted = any_match(allowed) if allowed else _always

    def match(flow: Flow) -> bool:
        if next(seen) % STRIDE == 0:
            budget.begin()
        return permitted(flow) and not denied(flow)

    return match


def _compile(wanted: FlowFilter, budget: Budget) -> Match:
    check_layer7(wanted)
    tests = [
        MAKERS[field.name](values)
        for field, values in wanted.ListFields()
        if field.name != "experimental"
    ]
    if wanted.experimental.cel_expression:  # the dearest comes last
        tests.append(Expressions(wanted.experimental.cel_expression, budget).match)
    return lambda flow: all(test(flow) for test in tests)


def _always(flow: Flow) -> bool:
    return True


def _equal(field: str) -> MatchMaker:
    """Whether a field of the flow has one of the values."""

    def make(values: Sequence[Any]) -> Match:
        return lambda flow: getattr(flow, field) in values

    return make


def _address(field: str, end: str) -> MatchMaker:
    def make(values: Sequence[str]) -> Match:
        networks = [_network(field, value) for value in values]

        def match(flow: Flow) -> bool:
            text = getattr(flow.IP, end)
            address = ipaddress.ip_address(text) if text else None
            return address is not None and any(address in one for one in networks)

        return match

    return make


def _network(field: str, value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise InvalidFilterError(f"{field} {value!r}: {error}") from error
    mapped = network.version == 6 and network.network_address.ipv4_mapped
    if mapped and network.prefixlen > 96:
        return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network


def _named(field: str, names: Callable[[Flow], tuple[str, str]]) -> MatchMaker:
    """`[namespace/]prefix` of a name."""

    def make(values: Sequence[str]) -> Match:
        wanted = [split_name(field, value) for value in values]

        def match(flow: Flow) -> bool:
            namespace, name = names(flow)
            return bool(namespace or name) and any(
                space in ("", namespace) and name.startswith(prefix) for space, prefix in wanted
            )

        return match

    return make


def _port(side: str) -> MatchMaker:
    def make(values: Sequence[str]) -> Match:
        ports = {checked_port(f"{side}_port", value) for value in values}

        def match(flow: Flow) -> bool:
            kind = flow.l4.WhichOneof("protocol")
            return kind in WITH_PORTS and getattr(getattr(flow.l4, kind), f"{side}_port") in ports

        return match

    return make


def _host(side: str) -> MatchMaker:
    def make(values: Sequence[str]) -> Match:
        patterns = [name_pattern(f"{side}_fqdn", value) for value in values]
        return lambda flow: any(
            one.fullmatch(name.rstrip(".").lower())
            for one in patterns
            for name in getattr(flow, f"{side}_names")
        )

    return make


def _selecting(field: str, labels: Callable[[Flow], Sequence[str]]) -> MatchMaker:
    def make(values: Sequence[str]) -> Match:
        selectors = [parse_selector(field, value) for value in values]
        return lambda flow: any(all(one.matches(labels(flow)) for one in s) for s in selectors)

    return make


def _workload(side: str) -> MatchMaker:
    def make(values: Sequence[Workload]) -> Match:
        return lambda flow: any(
            one.name in ("", owner.name) and one.kind in ("", owner.kind)
            for one in values
            for owner in getattr(flow, side).workloads
        )

    return make


def _cluster(side: str) -> MatchMaker:
    def make(values: Sequence[str]) -> Match:
        checked_cluster(f"{side}_cluster_name", values)
        return lambda flow: getattr(flow, side).cluster_name in values

    return make


def _drop_reason(values: Sequence[int]) -> Match:
    return lambda flow: flow.verdict == DROPPED and flow.drop_reason_desc in values


def _event_type(values: Sequence[EventTypeFilter]) -> Match:
    return lambda flow: any(
        one.type in (0, flow.event_type.type)
        and (not one.match_sub_type or one.sub_type == flow.event_type.sub_type)
        for one in values
    )


def _protocol(values: Sequence[str]) -> Match:
    names = {value.lower() for value in values}
    if unknown := names - PROTOCOLS.keys():
        known = ", ".join(PROTOCOLS)
        raise InvalidFilterError(f"protocol {min(unknown)!r}: unknown; there are {known}")

    def match(flow: Flow) -> bool:
        kind, record = flow.l4.WhichOneof("protocol") or "", flow.l7.WhichOneof("record") or ""
        return not names.isdisjoint((kind.lower(), record)) or (kind in ICMP and "icmp" in names)

    return match


def _flags(values: Sequence[Any]) -> Match:
    wanted = [[field.name for field, on in one.ListFields() if on] for one in values]
    return lambda flow: (
        flow.l4.HasField("TCP")
        and any(all(getattr(flow.l4.TCP.flags, name) for name in one) for one in wanted)
    )


def _reply(values: Sequence[bool]) -> Match:
    def match(flow: Flow) -> bool:
        if flow.HasField("is_reply"):
            return flow.is_reply.value in values
        return flow.verdict == DROPPED and False in values

    return match


def _interface(values: Sequence[Any]) -> Match:
    return lambda flow: (
        flow.HasField("interface")
        and any(
            one.index in (0, flow.interface.index) and one.name in ("", flow.interface.name)
            for one in values
        )
    )


def _node(values: Sequence[str]) -> Match:
    for value in values:
        node_matches(value, "")
    return lambda flow: any(node_matches(value, flow.node_name) for value in values)


def _uuid(values: Sequence[str]) -> Match:
    wanted = {value.lower() for value in values}
    return lambda flow: flow.uuid.lower() in wanted


def _of_side(side: str) -> dict[str, MatchMaker]:
    return {
        f"{side}_ip": _address(f"{side}_ip", side),
        f"{side}_port": _port(side),
        f"{side}_identity": lambda values: lambda flow: getattr(flow, side).identity in values,
        f"{side}_pod": _named(
            f"{side}_pod",
            lambda flow: (getattr(flow, side).namespace, getattr(flow, side).pod_name),
        ),
        f"{side}_service": _named(
            f"{side}_service",
            lambda flow: (
                getattr(flow, f"{side}_service").namespace,
                getattr(flow, f"{side}_service").name,
            ),
        ),
        f"{side}_fqdn": _host(side),
        f"{side}_label": _selecting(f"{side}_label", lambda flow: getattr(flow, side).labels),
        f"{side}_workload": _workload(side),
        f"{side}_cluster_name": _cluster(side),
    }


MAKERS: dict[str, MatchMaker] = {
    "uuid": _uuid,
    "verdict": _equal("verdict"),
    "drop_reason_desc": _drop_reason,
    "traffic_direction": _equal("traffic_direction"),
    "event_type": _event_type,
    "protocol": _protocol,
    "ip_version": lambda values: lambda flow: flow.IP.ipVersion in values,
    "source_ip_xlated": _address("source_ip_xlated", "source_xlated"),
    "tcp_flags": _flags,
    "reply": _reply,
    "encrypted": lambda values: lambda flow: flow.IP.encrypted in values,
    "interface": _interface,
    "node_labels": _selecting("node_labels", lambda flow: flow.node_labels),
    "node_name": _node,
    **requests.MAKERS,
    **{name: maker for side in SIDES for name, maker in _of_side(side).items()},
}
"""By field of flow.FlowFilter."""
