"""`cilia service`: frontends and their backends."""

from typing import Any

import click

from cilia.cli.grammar import AliasGroup, agent, output_option
from cilia.cli.output import Cell, emit, table

Json = Any


@click.group(cls=AliasGroup)
def service() -> None:
    """Services: frontends and their backends."""


def address(value: Json) -> str:
    """`10.96.0.1:443/TCP`, IPv6 in brackets."""
    host = f"[{value['ip']}]" if ":" in value["ip"] else value["ip"]
    protocol = str(value.get("protocol", "")).upper()
    return f"{host}:{value.get('port', 0)}" + (f"/{protocol}" if protocol else "")


def service_row(entry: Json) -> list[Cell]:
    """One service of the REST API as table cells."""
    spec = (entry.get("status") or {}).get("realized") or entry["spec"]
    backends = [
        f"{number} => {address(backend)} ({backend.get('state', 'active')})"
        for number, backend in enumerate(spec.get("backend-addresses") or [], 1)
    ]
    flags = spec.get("flags") or {}
    return [
        str(spec["id"]),
        address(spec["frontend-address"]),
        flags.get("type", ""),
        backends or [""],
        f"{flags.get('namespace', '')}/{flags.get('name', '')}",
    ]


@service.command("list")
@output_option
def list_(output: str) -> None:
    """List every frontend with its backends."""
    entries = sorted(agent().get("/v1/service"), key=lambda entry: entry["spec"]["id"])
    keep = 5 if output == "wide" else 4
    titles = ("ID", "Frontend", "Service Type", "Backend", "Name")[:keep]
    emit(entries, output, table(titles, [service_row(entry)[:keep] for entry in entries]))


@service.command("get")
@click.argument("number", metavar="ID", type=int)
@click.option("-o", "--output", default="json", help="json, yaml or jsonpath='{.field}'")
def get(number: int, output: str) -> None:
    """Show one frontend whole."""
    chosen = [entry for entry in agent().get("/v1/service") if entry["spec"]["id"] == number]
    if not chosen:
        raise click.UsageError(f"no service has id {number}; see `cilia service list`")
    emit(chosen[0], output)
