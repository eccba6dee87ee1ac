"""Events of the monitor socket as lines of text.

The observer sends one JSON object an event; names are joined there.
"""

import json
from typing import Any

import click

from cilia.cli.output import printable

Json = Any

TO = {"to-endpoint", "to-proxy", "to-host", "to-stack", "to-overlay", "to-network"}
VERDICT_COLOUR = {"drop": "red", "deny": "red", "allow": "green", "audit": "yellow"}


def who(side: Json, numeric: bool) -> str:
    """One side by name: `default/xwing`, else its reserved name or labels, else nothing."""
    if numeric:
        return ""
    name = side.get("pod") or ",".join(
        label.removeprefix("reserved:")
        for label in side.get("labels") or []
        if label.startswith("reserved:")
    )
    return str(name)


def address(side: Json) -> str:
    """`10.0.0.11:40000`, `[fd00::11]:40000`, or the bare address where there is no port."""
    ip, port = side.get("ip", ""), side.get("port") or 0
    if not port:
        return str(ip)
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def packet(event: Json) -> str:
    """`10.0.0.11:40001 -> 10.0.0.12:9090 tcp SYN`."""
    parts = [
        address(event["source"]),
        "->",
        address(event["destination"]),
        event.get("protocol", ""),
        event.get("tcp_flags", "") or event.get("icmp", ""),
    ]
    return " ".join(part for part in parts if part)


def names(event: Json, numeric: bool) -> str:
    """`default/xwing -> default/deathstar-…`, or nothing when neither side has a name."""
    source, destination = who(event["source"], numeric), who(event["destination"], numeric)
    return f" ({source or '?'} -> {destination or '?'})" if source or destination else ""


def because(event: Json) -> str:
    """Which policies allowed, denied or closed the door; empty where none had a say."""
    policies = event.get("policies") or []
    if not policies:
        return ""
    text = ", ".join(
        f"{p['kind']} {p['namespace'] + '/' if p.get('namespace') else ''}{p['name']}"
        + (f" {p['path']}" if p.get("path") else "")
        + written(p)
        + noted(p)
        for p in policies
    )
    return f" | {event.get('because', 'by')} {text}"


def noted(rule: Json) -> str:
    """The text that a policy wants on its events, quoted, for it may be any text at all.

    >>> noted({"log": "see\\nrunbook"})
    ' log "see\\\\nrunbook"'
    """
    return f" log {json.dumps(rule['log'])}" if rule.get("log") else ""


def written(rule: Json) -> str:
    """Where a rule is written, ` (cnp/default/rule1:14)`; empty where that is not known."""
    return f" ({rule['place']})" if rule.get("place") else ""


def identities(event: Json) -> str:
    """`identity 21001->21002`."""
    return f"identity {event['source']['identity']}->{event['destination']['identity']}"


def drop_line(event: Json, numeric: bool) -> str:
    """A dropped packet: why, where, who, and which policy closed the door."""
    return (
        f"xx drop ({event['subtype']}) flow {event['flow']} to endpoint "
        f"{event['destination'].get('endpoint', 0)}, ifindex {event['ifindex']}, "
        f"file {event['file']}, , {identities(event)}: {packet(event)}"
        f"{names(event, numeric)}{because(event)}"
    )


def trace_line(event: Json, numeric: bool) -> str:
    """A packet on its way, at one trace point."""
    point = event["subtype"]
    arrow = "->" if point in TO else "<-"
    place = point.partition("-")[2]
    if place == "endpoint":
        side = event["destination"] if point in TO else event["source"]
        place = f"endpoint {side.get('endpoint', 0)}"
    interface = event.get("interface") or event["ifindex"]
    return (
        f"{arrow} {place} flow {event['flow']} , {identities(event)} state {event['reason']} "
        f"ifindex {interface} orig-ip {event['source']['ip']}: {packet(event)}"
        f"{names(event, numeric)}"
    )


def verdict_line(event: Json, numeric: bool) -> str:
    """A policy's decision about a new connection."""
    ingress = event["direction"] == "ingress"
    local, remote = event["destination"], event["source"]
    if not ingress:
        local, remote = remote, local
    return (
        f"Policy verdict log: flow {event['flow']} local EP ID {local.get('endpoint', 0)}, "
        f"remote ID {remote['identity']}, proto {event['protocol_number']}, "
        f"{event['direction']}, action {event['action']}, auth: disabled, "
        f"match {event['match']}, {packet(event)}{names(event, numeric)}{because(event)}"
    )


def lost_line(event: Json, numeric: bool) -> str:
    """Records that found their ring full."""
    return f"CPU {event['cpu']:02}: Lost {event['lost']} events"


def socket_line(event: Json, numeric: bool) -> str:
    """A call on a socket, and the backend that it was given for a service."""
    flow = f"{address(event['source'])} -> {address(event['destination'])}"
    return (
        f"{event['subtype']} {event.get('protocol', '')} "
        f"{identities(event)}: {flow}{names(event, numeric)}"
    )


def agent_line(event: Json, numeric: bool) -> str:
    """News of the agent."""
    return f">> {event['subtype']}: {json.dumps(event.get('message') or {})}"


LINES = {
    "agent": (agent_line, None),
    "trace-sock": (socket_line, None),
    "drop": (drop_line, "red"),
    "trace": (trace_line, None),
    "policy-verdict": (verdict_line, None),
    "lost": (lost_line, "yellow"),
}


def event_line(event: Json, numeric: bool = False) -> str:
    """One event as the line that `cilia monitor` prints; coloured text, click strips it."""
    render, colour = LINES[event["type"]]
    colour = VERDICT_COLOUR.get(event.get("action", ""), colour)
    text = printable(render(event, numeric))
    return click.style(text, fg=colour) if colour else text
