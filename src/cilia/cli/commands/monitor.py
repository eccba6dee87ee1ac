"""`cilia monitor`: what the datapath does, as it does it."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cilia.cli.errors import ClientError
from cilia.cli.events import event_line
from cilia.cli.grammar import place

Json = Any

TYPES = ("drop", "trace", "policy-verdict")


def events(path: Path, filters: Json) -> Iterator[Json]:
    """Events from the observer as they come, the greeting first.

    Raises:
        ClientError: no observer there, or it went away.
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
    raise ClientError("the observer closed the stream", "it may be restarting; try again")


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
    for event in events(place().monitor_socket, filters):
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
