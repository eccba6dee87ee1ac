"""`cilia monitor`: what the datapath does, as it does it."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cilia.cli.errors import ClientError
from cilia.cli.events import event_line
from cilia.cli.grammar import place

Json = Any

RETRY_S = 0.2
TYPES = ("drop", "trace", "policy-verdict")


def events(path: Path, filters: Json) -> Iterator[Json]:
    """Events from the observer until it closes the stream, the greeting first.

    Raises:
        ClientError: no observer there, or it refuses the filters.
    """
    with socket.socket(socket.AF_UNIX) as conn:
        try:
            conn.connect(str(path))
        except OSError as error:
            raise ClientError(
                f"cannot reach the observer at {path}: {error.strerror}",
                "is it running? `cilia lab status` shows the lab's processes",
            ) from None
        conn.sendall(json.dumps(filters).encode() + b"\n")
        for line in conn.makefile("rb"):
            event = json.loads(line)
            if "error" in event:
                raise ClientError(event["error"], "see `cilia monitor --help`")
            yield event


def followed(path: Path, filters: Json) -> Iterator[Json]:
    """Events for as long as anybody listens: an observer that went away is waited for.

    Says so on stderr, for what happens meanwhile is not shown.

    Raises:
        ClientError: no observer there to begin with, or it refuses the filters.
    """
    yield from _until_closed(events(path, filters))
    while True:
        click.echo("the observer went away; waiting for it to come back", err=True)
        stream = _reconnected(path, filters)
        click.echo("the observer is back", err=True)
        yield from _until_closed(stream)


def _until_closed(stream: Iterator[Json]) -> Iterator[Json]:
    with contextlib.suppress(ConnectionError):
        yield from stream


def _reconnected(path: Path, filters: Json) -> Iterator[Json]:
    """The events after the greeting, as soon as there is an observer again."""
    while True:
        stream = events(path, filters)
        with contextlib.suppress(ClientError, ConnectionError):
            if next(stream, None) is not None:
                return stream
        time.sleep(RETRY_S)


@click.command()
@click.option("-t", "--type", "types", multiple=True, type=click.Choice(TYPES), help="only these")
@click.option("--from", "from_", multiple=True, type=int, metavar="ID", help="from this endpoint")
@click.option("--to", multiple=True, type=int, metavar="ID", help="to this endpoint")
@click.option("--related-to", multiple=True, type=int, metavar="ID", help="from or to it")
@click.option("-n", "--numeric", is_flag=True, help="no names")
@click.option("-v", "--verbose", is_flag=True, help="add labels")
@click.option("-j", "--json", "as_json", is_flag=True, help="one JSON object a line (-o json)")
@click.option("-o", "--output", type=click.Choice(("text", "json")), default="text")
def monitor(
    types: tuple[str, ...],
    from_: tuple[int, ...],
    to: tuple[int, ...],
    related_to: tuple[int, ...],
    numeric: bool,
    verbose: bool,
    as_json: bool,
    output: str,
) -> None:
    """Show drops, traces and policy verdicts as they happen."""
    as_json = as_json or output == "json"
    filters = {
        "types": list(types),
        "from": list(from_),
        "to": list(to),
        "related": list(related_to),
    }
    for event in followed(place().monitor_socket, filters):
        if event["type"] == "listening":
            click.echo(
                f"Listening for events on {event['cpus']} CPUs with "
                f"{event['ring_bytes'] // 4096}x4096 of shared memory\nPress Ctrl-C to quit",
                err=as_json,
            )
        elif as_json:
            click.echo(json.dumps(event))
        else:
            click.echo(event_line(event, numeric) + (_labels(event) if verbose else ""))


def _labels(event: Json) -> str:
    """The label sets of both sides, for --verbose."""
    sides = (event.get("source") or {}, event.get("destination") or {})
    return "".join(f" [{' '.join(side.get('labels') or [])}]" for side in sides)
