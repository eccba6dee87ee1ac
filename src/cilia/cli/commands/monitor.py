"""`cilia monitor`: what the datapath does, as it does it."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from cilia.cli.dissection import field_lines, hex_lines
from cilia.cli.errors import ClientError
from cilia.cli.events import event_line
from cilia.cli.grammar import place
from cilia.cli.output import printable

Json = Any

RETRY_S = 0.2
SILENT = ("capture", "debug", "l7")
TYPES = ("agent", "capture", "debug", "drop", "l7", "policy-verdict", "trace", "trace-sock")


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
            if not line.endswith(b"\n"):  # the observer was killed while it wrote
                return
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
@click.option("--interface", multiple=True, metavar="NAME", help="seen at this device, or number")
@click.option("-n", "--numeric", is_flag=True, help="no names")
@click.option("-v", "--verbose", count=True, help="add labels; -vv: every field, one a line")
@click.option("--hex", "as_hex", is_flag=True, help="dump the records that programs wrote")
@click.option("-j", "--json", "as_json", is_flag=True, help="one JSON object a line (-o json)")
@click.option("-o", "--output", type=click.Choice(("text", "json")), default="text")
@click.option(
    "--monitor-socket", "--monitor-socket-path", "path", metavar="SOCKET", help="listen to this one"
)
def monitor(
    types: tuple[str, ...],
    from_: tuple[int, ...],
    to: tuple[int, ...],
    related_to: tuple[int, ...],
    interface: tuple[str, ...],
    numeric: bool,
    verbose: int,
    as_hex: bool,
    as_json: bool,
    output: str,
    path: str | None,
) -> None:
    """Show drops, traces, verdicts, calls of sockets and the agent's news as they happen."""
    as_json = as_json or output == "json"
    filters = {
        "types": list(types),
        "from": list(from_),
        "to": list(to),
        "related": list(related_to),
        "interfaces": list(interface),
        "raw": as_hex,
    }
    warn_of_silence(types)
    show = json.dumps if as_json else hex_lines if as_hex else text_of(numeric, verbose)
    for event in followed(Path(path) if path else place().monitor_socket, filters):
        if event["type"] == "listening":
            click.echo(
                f"Listening for events on {event['cpus']} CPUs with "
                f"{event['ring_bytes'] // 4096}x4096 of shared memory\nPress Ctrl-C to quit",
                err=as_json,
            )
        else:
            click.echo(show(event))


def text_of(numeric: bool, verbose: int) -> Callable[[Json], str]:
    """How events are shown as text."""

    def show(event: Json) -> str:
        line = event_line(event, numeric)
        if verbose:
            line += labels(event)
        return line + field_lines(event) if verbose > 1 else line

    return show


def warn_of_silence(types: Sequence[str]) -> None:
    """Says so when types are waited for that nothing reports."""
    silent = sorted(set(types) & set(SILENT))
    if silent:
        click.echo(f"nothing reports {', '.join(silent)} events yet", err=True)


def labels(event: Json) -> str:
    """The label sets of both sides."""
    sides = (event.get("source") or {}, event.get("destination") or {})
    return "".join(
        f" [{printable(' '.join(side['labels']))}]" for side in sides if side.get("labels")
    )
