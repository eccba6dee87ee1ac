"""`cilia hubble list connections` and `list totals`: bytes and packets, from this node's observer.

Hubble's API has no words for them, so relays and stock clients do not know them.
"""

import time
from collections.abc import Callable
from typing import Any

import click

from cilia.cli.client import AgentClient
from cilia.cli.errors import ClientError
from cilia.cli.grammar import output_option, place
from cilia.cli.output import emit, table

Json = Any

MEASURES = ("bytes", "packets")
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def observer() -> AgentClient:
    """The REST client of this node's observer.

    Raises:
        ClientError: there is none.
    """
    path = place().observer_socket
    if not path.exists():
        raise ClientError(f"no observer at {path}", "is it running? `cilia status` says")
    return AgentClient(path, server="observer")


def size_text(count: int) -> str:
    """A number of bytes as people read it.

    >>> size_text(1_023), size_text(1_536), size_text(3 << 40)
    ('1023 B', '1.5 KiB', '3.0 TiB')
    """
    amount = float(count)
    for unit in UNITS:
        if amount < 1024 or unit == UNITS[-1]:
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def end_text(end: Json) -> str:
    """One end of a connection: its pod's name, or what its labels say, or its address."""
    host = party_text(end)
    host = host if host != "-" else str(end["ip"])
    return f"{host}:{end['port']}" if end["port"] else host


def party_text(party: Json) -> str:
    """A party by the best name it has."""
    if party["pod"]:
        return "/".join(filter(None, (party["namespace"], party["pod"])))
    labels = [label for label in party["labels"] if label.startswith(("reserved:", "cidr:"))]
    return labels[-1].removeprefix("cidr:").removeprefix("reserved:") if labels else "-"


def connection_rows(answer: Json, now: float) -> list[list[str]]:
    """Cells of the table of connections."""
    return [
        [
            end_text(each["source"]),
            end_text(each["destination"]),
            each["protocol"],
            *(size_text(count) for count in each["bytes"]),
            *(f"{count:,}" for count in each["packets"]),
            f"{max(0.0, each['last'] - each['first']):.1f}s",
            f"{max(0.0, now - each['last']):.0f}s ago",
            each["state"],
            ", ".join(each["policies"]) or "-",
        ]
        for each in answer
    ]


def total_rows(answer: Json) -> list[list[str]]:
    """Cells of the table of totals."""
    return [
        [
            party_text(each["source"]),
            party_text(each["destination"]),
            *(size_text(count) for count in each["bytes"]),
            *(f"{count:,}" for count in each["packets"]),
            f"{each['connections']:,}",
        ]
        for each in answer
    ]


def measured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags that both commands have."""
    for add in (
        output_option,
        click.option("--by", type=click.Choice(MEASURES), default="bytes", help="the most of what"),
        click.option("-n", "--number", default=20, help="at most so many"),
    ):
        command = add(command)
    return command


@click.command()
@click.option("--ended", is_flag=True, help="the newest that have ended, not the largest live ones")
@measured
def connections(ended: bool, by: str, number: int, output: str) -> None:
    """List connections of this node with what they moved, each way."""
    state = "ended" if ended else "live"
    answer = observer().get("/v1/connections", state=state, by=by, number=str(number))
    titles = ["SOURCE", "DESTINATION", "PROTOCOL", "SENT", "RECEIVED", "PACKETS SENT"]
    titles += ["PACKETS RECEIVED", "DURATION", "LAST PACKET", "STATE", "POLICIES"]
    emit(answer, output, table(titles, connection_rows(answer, time.time())))


@click.command()
@measured
def totals(by: str, number: int, output: str) -> None:
    """List who moved how much with whom on this node since its observer began."""
    answer = observer().get("/v1/totals", by=by, number=str(number))
    titles = ["SOURCE", "DESTINATION", "SENT", "RECEIVED", "PACKETS SENT", "PACKETS RECEIVED"]
    emit(answer, output, table([*titles, "CONNECTIONS"], total_rows(answer)))
