"""Flows from a file of JSON lines, asked like an observer: `--input-file`."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.timestamp_pb2 import Timestamp

from cilia.cli.errors import ClientError
from cilia.cli.hubble.connection import flow_filters
from cilia.cli.hubble.selection import ALL
from cilia.hubble.filters import InvalidFilterError, compile_message_filters
from cilia.hubble.proto.flow.flow_pb2 import Flow
from cilia.hubble.proto.observer.observer_pb2 import ExportEvent

Json = Any

NS = 1_000_000_000
WANTED = {
    "flows": ("flow", "lost_events", "node_status"),
    "agent-events": ("agent_event",),
    "debug-events": ("debug_event",),
}


def messages(file: str, kind: str, request: Json) -> Iterator[ExportEvent]:
    """The events of a file that a request selects.

    Args:
        file: Its path; `-` is the standard input.
        kind: flows, agent-events or debug-events.
        request: As an observer would get it.

    Raises:
        ClientError: the file cannot be read, a line of it is no event, or a filter cannot
            be understood.
    """
    try:
        yield from _wanted(file, kind, request)
    except InvalidFilterError as error:  # one that is too dear is found out late
        raise ClientError(f"filter {error}") from None


def _wanted(file: str, kind: str, request: Json) -> Iterator[ExportEvent]:
    passes = compile_message_filters(flow_filters(request["allow"]), flow_filters(request["deny"]))
    events = (
        event
        for event in _events(file)
        if event.WhichOneof("response_types") in WANTED[kind]
        and _is_between(event, request.get("since"), request.get("until"))
        and (not event.HasField("flow") or passes(event.flow))
    )
    number = request.get("number", 0)
    if not number or number == ALL:
        yield from events
    elif request.get("first"):
        yield from islice(events, number)
    else:
        yield from deque(events, maxlen=number)


def _events(file: str) -> Iterator[ExportEvent]:
    if file == "-":
        yield from _decoded(sys.stdin, "standard input")
        return
    try:
        with Path(file).open(encoding="utf-8") as lines:
            yield from _decoded(lines, file)
    except OSError as error:
        raise ClientError(f"cannot read {file}: {error.strerror}") from None


def _decoded(lines: Iterable[str], name: str) -> Iterator[ExportEvent]:
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _event(line, f"{name}, line {number}")
    except UnicodeDecodeError:
        raise ClientError(
            f"{name} is no text after line {number}",
            "it takes what `hubble observe -o json` writes; unpack what is packed",
        ) from None


def _event(line: str, place: str) -> ExportEvent:
    """One line: an event, or a bare flow as old versions wrote it."""
    try:
        event = Parse(line, ExportEvent(), ignore_unknown_fields=True)
        if event.WhichOneof("response_types") is None:
            flow = Parse(line, Flow(), ignore_unknown_fields=True)
            event = ExportEvent(flow=flow, node_name=flow.node_name, time=flow.time)
    except ParseError as error:
        raise ClientError(
            f"{place} is no event: {error}", "it takes what `hubble observe -o json` writes"
        ) from None
    return event


def _is_between(event: ExportEvent, since: int | None, until: int | None) -> bool:
    time: Timestamp = event.time
    moment = time.seconds * NS + time.nanos
    return (since is None or moment >= since) and (until is None or moment <= until)
