"""Flows as lines: compact, dict, table and JSON."""

import importlib
import json
from collections.abc import Callable
from typing import Any, TextIO

import click
import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from cilia.cli.hubble import wording
from cilia.cli.hubble.events import agent_event, debug_event
from cilia.cli.hubble.times import time_text
from cilia.cli.hubble.why import reason
from cilia.cli.output import printable, table
from cilia.hubble.proto.flow.flow_pb2 import Flow, LostEvent, LostEventSource

Message = Any
"""A GetFlows, GetAgentEvents or GetDebugEvents response, or an exported event."""

FORMATS = ("compact", "dict", "json", "jsonpb", "tab", "table")
RULE = "------------"
VERDICT_COLOURS = {
    "FORWARDED": "green",
    "ALLOWED": "green",
    "REDIRECTED": "green",
    "TRACED": "yellow",
    "TRANSLATED": "yellow",
    "DROPPED": "red",
    "DENIED": "red",
    "ERROR": "red",
    "AUDIT": "yellow",
    "AUDITED": "yellow",
}


class Look(msgspec.Struct, frozen=True):
    """How flows are to be shown."""

    output: str = "compact"
    layout: str = "StampMilli"
    names: wording.Names = wording.Names()
    coloured: bool = False
    nodes: bool = False
    policies: bool = False
    why: bool = False
    debug: bool = False
    """News of nodes that need no attention too."""
    bare: bool = False
    """JSON of the flow alone, as old versions of the stock tool wrote it."""


class Words(msgspec.Struct, frozen=True):
    """One event, each column in words that a terminal just shows; what is coloured stands apart."""

    time: str
    node: str
    source: tuple[str, str]
    destination: tuple[str, str]
    source_identity: str
    destination_identity: str
    type: str
    verdict: str
    summary: str
    why: str
    is_reply: bool | None


def words_of(flow: Flow, look: Look) -> Words:
    """A flow's columns; the sides as they are in the packet."""
    names = look.names
    return Words(
        time=stamp(flow.time, look),
        node=printable(flow.node_name),
        source=_host(flow, "source", names),
        destination=_host(flow, "destination", names),
        source_identity=printable(wording.identity(flow, "source")),
        destination_identity=printable(wording.identity(flow, "destination")),
        type=printable(wording.event_type(flow)),
        verdict=printable(wording.verdict(flow) + (by_policies(flow) if look.policies else "")),
        summary=printable(wording.summary(flow)),
        why=printable(reason(flow)) if look.why else "",
        is_reply=wording.is_reply(flow),
    )


def _host(flow: Flow, side: wording.Side, names: wording.Names) -> tuple[str, str]:
    who, port = wording.host(flow, side, names)
    return printable(who), printable(port)


def by_policies(flow: Flow) -> str:
    """` BY name (Kind), …` on verdicts; empty where no policy is named."""
    if flow.event_type.type != wording.POLICY_VERDICT:
        return ""
    fields = ("ingress_allowed_by", "egress_allowed_by", "ingress_denied_by", "egress_denied_by")
    found = [f"{one.name} ({one.kind})" for field in fields for one in getattr(flow, field)]
    return f" BY {', '.join(dict.fromkeys(found))}" if found else ""


def stamp(time: Timestamp, look: Look) -> str:
    """A time in the layout asked for; `N/A` for none."""
    if not (time.seconds or time.nanos):
        return "N/A"
    return time_text(time.seconds, time.nanos, look.layout)


def joined(end: tuple[str, str]) -> str:
    """`who:port`."""
    return ":".join(filter(None, end))


def lost_text(event: LostEvent, look: Look) -> tuple[str, str]:
    """(what was lost where, how many)."""
    source = wording.enum_name(LostEventSource.Name, event.source)
    cpu = f" CPU({event.cpu.value})" if event.HasField("cpu") else ""
    span = ""
    if event.HasField("first"):
        span = f" (first: {stamp(event.first, look)}, last: {stamp(event.last, look)})"
    return f"{source}{cpu}", f"{event.num_events_lost}{span}"


def compact_line(flow: Flow, look: Look) -> str:
    """`<time>[ [<node>]]: <src> (id) -> <dst> (id) <type> <verdict> (<summary>)`."""
    words = words_of(flow, look)
    paint = _paint if look.coloured else _plain
    sides = [
        _end(words.source, words.source_identity, paint),
        _end(words.destination, words.destination_identity, paint),
    ]
    if words.is_reply:
        sides.reverse()
    node = f" [{words.node}]" if look.nodes else ""
    colour = VERDICT_COLOURS.get(words.verdict.partition(" ")[0], "")
    line = (
        f"{words.time}{node}: {sides[0]} {wording.ARROWS[words.is_reply]} {sides[1]} "
        f"{words.type} {paint(words.verdict, colour)}"
    )
    line += f" ({words.summary})" if words.summary else ""
    return line + (paint(words.why, "yellow") if words.why else "")


Paint = Callable[[str, str], str]


def _paint(text: str, colour: str) -> str:
    return click.style(text, fg=colour) if colour and text else text


def _plain(text: str, colour: str) -> str:
    return text


def _end(end: tuple[str, str], identity: str, paint: Paint) -> str:
    who = paint(joined((end[0], paint(end[1], "yellow"))), "cyan")
    return f"{who} {paint(f'({identity})', 'magenta')}"


class Printer:
    """Writes what a stream brings; `close` writes what had to wait for its end.

    Args:
        look: How.
        out: Where lines go.
        errors: Where news of nodes goes.
        follow: Every line is written at once.
    """

    def __init__(self, look: Look, out: TextIO, errors: TextIO, *, follow: bool = False) -> None:
        self._look = look
        self._out = out
        self._errors = errors
        self._follow = follow
        self._rows: list[list[str]] = []
        self._titles: list[str] = []
        self._is_first = True

    def write(self, message: Message) -> None:
        """One event of a stream."""
        kind = message.WhichOneof("response_types") if _is_flow_stream(message) else None
        if self._look.output in ("json", "jsonpb"):
            self._print(json_line(message, kind, bare=self._look.bare))
        elif kind == "node_status":
            self._node_status(message)
        elif self._look.output in ("table", "tab"):
            columns = columns_of(message, kind, self._look)
            self._titles = self._titles or [title for title, _ in columns]
            self._rows.append([text for _, text in columns])
        elif self._look.output == "dict":
            self._dict(columns_of(message, kind, self._look))
        else:
            self._print(self._compact(message, kind))

    def close(self) -> None:
        """Writes the table."""
        if self._rows:
            for line in table(self._titles, self._rows, 0).splitlines():
                self._print(line.rstrip())
        self._out.flush()

    def _print(self, line: str) -> None:
        self._out.write(line + "\n")
        if self._follow:
            self._out.flush()

    def _compact(self, message: Message, kind: str | None) -> str:
        look = self._look
        if kind == "flow":
            return compact_line(message.flow, look)
        time = stamp(message.time, look)
        node = f" [{printable(message.node_name)}]" if look.nodes else ""
        if kind == "lost_events":
            return f"{time}{node} EVENTS LOST: {' '.join(lost_text(message.lost_events, look))}"
        if _has(message, "agent_event"):
            name, details = agent_event(message.agent_event, look.layout)
            return f"{time}{node}: {name} ({printable(details)})"
        source, name, mark, text = debug_event(message.debug_event)
        return printable(f"{time}{node}: {source} {name} {mark} ({text})")

    def _dict(self, columns: list[tuple[str, str]]) -> None:
        if not self._is_first:
            self._print(RULE)
        self._is_first = False
        width = max(len(title) for title, _ in columns)
        for title, text in columns:
            self._print(f"{title:>{width}}: {text}")

    def _node_status(self, message: Message) -> None:
        line = node_status_line(message, self._look)
        if line:
            self._errors.write(line + "\n")
            self._errors.flush()


def _is_flow_stream(message: Message) -> bool:
    return "response_types" in message.DESCRIPTOR.oneofs_by_name


def _has(message: Message, field: str) -> bool:
    return field in message.DESCRIPTOR.fields_by_name and bool(message.HasField(field))


def columns_of(message: Message, kind: str | None, look: Look) -> list[tuple[str, str]]:
    """(title, text) of each column of dict and table."""
    node = [("NODE", printable(message.node_name))] if look.nodes else []
    head = [("TIMESTAMP", stamp(message.time, look)), *node]
    if kind == "flow":
        words = words_of(message.flow, look)
        head[0] = ("TIMESTAMP", words.time)
        return [
            *head,
            ("SOURCE", joined(words.source)),
            ("DESTINATION", joined(words.destination)),
            ("TYPE", words.type),
            ("VERDICT", words.verdict),
            ("SUMMARY", words.summary),
            *([("WHY", words.why.removeprefix(" | "))] if look.why else []),
        ]
    if kind == "lost_events":
        what, many = lost_text(message.lost_events, look)
        cells = [what, "", "EVENTS LOST", "", many]
        titles = ("SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY")
        return [*head, *zip(titles, cells, strict=True), *([("WHY", "")] if look.why else [])]
    if _has(message, "agent_event"):
        name, details = agent_event(message.agent_event, look.layout)
        return [*head, ("TYPE", name), ("DETAILS", printable(details))]
    source, name, mark, text = debug_event(message.debug_event)
    pairs = [("FROM", source), ("TYPE", name), ("CPU/MARK", mark), ("MESSAGE", text)]
    return [*head, *((title, printable(cell)) for title, cell in pairs)]


def json_line(message: Message, kind: str | None, *, bare: bool) -> str:
    """The event in protobuf's JSON, with the fields' own names, on one line."""
    shown = message.flow if bare and kind == "flow" else message
    # By name: only those who want JSON pay for what makes it.
    value = importlib.import_module("cilia.cli.hubble.protojson").message_dict(shown)
    line = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)


NAMES_WIDTH = 50


def node_status_line(message: Message, look: Look) -> str:
    """What a relay says of its nodes; empty for news that need no attention."""
    status = message.node_status
    names = [printable(name) for name in status.node_names]
    head = f"{stamp(message.time, look)} [{printable(message.node_name)}]: "
    match status.state_change:
        case 1 if look.debug:
            return f"{head}Receiving flows from {len(names)} nodes: {shortened(names)}"
        case 2:
            return f"{head}{len(names)} nodes are unavailable: {shortened(names)}"
        case 4:
            told = printable(status.message)
            return f'{head}Error "{told}" on {len(names)} nodes: {shortened(names)}'
    return ""


def shortened(names: list[str]) -> str:
    """As many names as fit, and how many more there are.

    >>> shortened(["a" * 30, "b" * 30, "c"])
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (and 2 more)'
    """
    shown = names[:1]
    for name in names[1:]:
        if len(", ".join([*shown, name])) > NAMES_WIDTH:
            break
        shown.append(name)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" (and {more} more)" if more else "")
