"""Answers about servers as text: status, nodes, namespaces, peers."""

import importlib
import json
from typing import Any

from cilia.cli.hubble.wording import enum_name
from cilia.cli.output import printable, table
from cilia.hubble.proto.observer.observer_pb2 import (
    GetNamespacesResponse,
    GetNodesResponse,
    Node,
    ServerStatusResponse,
)
from cilia.hubble.proto.peer.peer_pb2 import ChangeNotification, ChangeNotificationType
from cilia.hubble.proto.relay.relay_pb2 import NODE_CONNECTED, NodeState

NONE = "N/A"
NS = 1_000_000_000
WIDTH = 19


def status(answer: ServerStatusResponse, output: str, address: str) -> str:
    """What a server says of itself."""
    if output == "json":
        return json.dumps(_message_dict(answer), separators=(",", ":"))
    if output == "compact":
        return _status_lines(answer, address)
    columns = [
        ("NUM FLOWS", f"{answer.num_flows:,}"),
        ("MAX FLOWS", f"{answer.max_flows:,}"),
        ("SEEN FLOWS", f"{answer.seen_flows:,}"),
        ("FLOWS PER SECOND", _rate(answer)),
        ("UPTIME", go_duration(answer.uptime_ns) if answer.uptime_ns else NONE),
        ("NUM CONNECTED NODES", _count(answer, "num_connected_nodes")),
        (
            "NUM UNAVAIL. NODES" if output == "dict" else "NUM UNAVAILABLE NODES",
            _count(answer, "num_unavailable_nodes"),
        ),
        ("VERSION", printable(answer.version) or NONE),
    ]
    if output == "dict":
        return "\n".join(f"{title:>{WIDTH}}: {text}" for title, text in columns)
    return _table([title for title, _ in columns], [[text for _, text in columns]])


def _status_lines(answer: ServerStatusResponse, address: str) -> str:
    share = 100 * answer.num_flows / answer.max_flows if answer.max_flows else 0.0
    lines = [
        f"Healthcheck (via {address}): Ok",
        f"Current/Max Flows: {answer.num_flows:,}/{answer.max_flows:,} ({share:.2f}%)",
        f"Flows/s: {_rate(answer)}",
    ]
    if answer.HasField("num_connected_nodes"):
        known = answer.num_connected_nodes.value + answer.num_unavailable_nodes.value
        lines.append(f"Connected Nodes: {answer.num_connected_nodes.value}/{known}")
    if answer.num_unavailable_nodes.value:
        lines.append(f"Unavailable Nodes: {answer.num_unavailable_nodes.value}")
        lines += [f"  - {printable(name)}" for name in answer.unavailable_nodes]
    return "\n".join(lines)


def _rate(answer: ServerStatusResponse | Node) -> str:
    """Flows a second: what the server says, else all it saw over its life."""
    rate = answer.flows_rate if isinstance(answer, ServerStatusResponse) else 0.0
    if not rate and answer.uptime_ns:
        rate = answer.seen_flows * NS / answer.uptime_ns
    return f"{rate:,.2f}" if rate or answer.uptime_ns else NONE


def _count(answer: ServerStatusResponse, field: Any) -> str:
    return f"{getattr(answer, field).value:,}" if answer.HasField(field) else NONE


def _span(ns: int) -> str:
    """`1h2m3s`.

    >>> _span(3_723 * NS)
    '1h2m3s'
    """
    if not ns:
        return NONE
    minutes, seconds = divmod(ns // NS, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    return text + (f"{minutes}m" if minutes or hours else "") + f"{seconds}s"


def go_duration(ns: int) -> str:
    """A span of a second or more as Go writes it, to the nanosecond.

    >>> go_duration(440_471_698_055), go_duration(3_600 * NS), go_duration(1_500_000_000)
    ('7m20.471698055s', '1h0m0s', '1.5s')
    """
    whole, part = divmod(ns, NS)
    fraction = f".{part:09}".rstrip("0") if part else ""
    return (_span(whole * NS) if whole else "0s").removesuffix("s") + f"{fraction}s"


def nodes(answer: GetNodesResponse, output: str) -> str:
    """The nodes of a relay."""
    if output == "json":
        return _json(_message_dict(answer).get("nodes", []))
    titles = ["NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS"]
    wide = ["VERSION", "ADDRESS", "TLS"]
    rows = [_node(one) for one in answer.nodes]
    if output == "dict":
        return "\n------------\n".join(
            "\n".join(
                f"{title:>17}: {text}" for title, text in zip(titles + wide, row, strict=True)
            )
            for row in rows
        )
    shown = len(titles) + (len(wide) if output == "wide" else 0)
    return _table((titles + wide)[:shown], [row[:shown] for row in rows])


def _node(one: Node) -> list[str]:
    is_there = one.state == NODE_CONNECTED
    share = 100 * one.num_flows / one.max_flows if one.max_flows else 0.0
    return [
        printable(one.name),
        enum_name(NodeState.Name, one.state).removeprefix("NODE_").capitalize()
        if one.state
        else "Unknown",
        _span(one.uptime_ns),
        _rate(one),
        f"{one.num_flows}/{one.max_flows} ({share:6.2f}%)" if is_there else NONE,
        printable(one.version) or NONE,
        printable(one.address) or NONE,
        ("Enabled" if one.tls.enabled else "Disabled") if one.HasField("tls") else NONE,
    ]


def namespaces(answer: GetNamespacesResponse, output: str) -> str:
    """The namespaces flows were seen in."""
    if output == "json":
        found = _message_dict(answer)
        return _json(found.get("namespaces", []))
    rows = [[printable(one.namespace), printable(one.cluster) or NONE] for one in answer.namespaces]
    if output == "dict":
        return "\n------------\n".join(
            f"NAMESPACE: {namespace}\n  CLUSTER: {cluster}" for namespace, cluster in rows
        )
    if output == "wide":
        return _table(["NAMESPACE", "CLUSTER"], rows)
    return _table(["NAMESPACE"], [row[:1] for row in rows])


def peer(change: ChangeNotification) -> str:
    """`PEER_ADDED   192.168.1.1:4244 default/node-a (TLS.ServerName: …)`."""
    kind = enum_name(ChangeNotificationType.Name, change.type)
    tls = f" (TLS.ServerName: {change.tls.server_name})" if change.tls.server_name else ""
    return printable(f"{kind:<12} {change.address} {change.name}{tls}")


def _table(titles: list[str], rows: list[list[str]]) -> str:
    return "\n".join(line.rstrip() for line in table(titles, rows, 0).splitlines())


def _json(value: Any) -> str:
    return json.dumps(value, indent=2)


def _message_dict(answer: Any) -> Any:
    return importlib.import_module("cilia.cli.hubble.protojson").message_dict(answer)
