"""`cilia ip`: which identity owns which prefix."""

import click

from cilia.cli.grammar import AliasGroup, agent, output_option
from cilia.cli.output import Cell, emit, table


@click.group(cls=AliasGroup)
def ip() -> None:
    """IP addresses and the identities that own them."""


@ip.command("list")
@click.option("-n", "--numeric", is_flag=True, help="identity numbers, not labels")
@click.option("-v", "--verbose", is_flag=True, help="add host and encryption key")
@output_option
def list_(numeric: bool, verbose: bool, output: str) -> None:
    """List every prefix that this node knows."""
    client = agent()
    entries = client.get("/v1/ip")
    names = {}
    if not numeric and output in ("table", "wide"):
        names = {e["id"]: sorted(e.get("labels") or []) for e in client.get("/v1/identity")}
    rows: list[list[Cell]] = []
    for entry in entries:
        number = entry["identity"]
        metadata = entry.get("metadata") or {}
        row: list[Cell] = [
            entry["cidr"],
            names.get(number) or str(number),
            metadata.get("source", ""),
        ]
        if verbose or output == "wide":
            row += [entry.get("hostIP", ""), str(entry.get("encryptKey", 0))]
        rows.append(row)
    wide = ("HOST", "ENCRYPT_KEY") if verbose or output == "wide" else ()
    emit(entries, output, table(("IP", "IDENTITY", "SOURCE", *wide), rows))
