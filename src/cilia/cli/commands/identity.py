"""`cilia identity`: label sets and their numbers."""

from typing import Any

import click

from cilia.cli.grammar import AliasGroup, agent, output_option
from cilia.cli.output import Cell, emit, table

Json = Any


@click.group(cls=AliasGroup)
def identity() -> None:
    """Security identities: label sets and their numbers."""


def identity_rows(entries: list[Json], references: dict[int, int] | None) -> list[list[Cell]]:
    """Table cells of identities, with reference counts when they are given."""
    return [
        [
            str(entry["id"]),
            sorted(entry.get("labels") or []),
            *([str(references.get(entry["id"], 0))] if references is not None else []),
        ]
        for entry in entries
    ]


@identity.command("list")
@click.argument("labels", nargs=-1)
@click.option("--endpoints", is_flag=True, help="count the endpoints of this node that use each")
@output_option
def list_(labels: tuple[str, ...], endpoints: bool, output: str) -> None:
    """List identities, all or those that carry LABELS."""
    entries = sorted(
        (e for e in agent().get("/v1/identity") if set(labels) <= set(e.get("labels") or [])),
        key=lambda entry: entry["id"],
    )
    references = None
    if endpoints:
        references = {
            e["identity"]["id"]: e["refCount"] for e in agent().get("/v1/identity/endpoints")
        }
    titles = ("ID", "LABELS", *(("REFCOUNT",) if endpoints else ()))
    emit(entries, output, table(titles, identity_rows(entries, references)))


@identity.command("get")
@click.argument("number", metavar="ID")
@output_option
def get(number: str, output: str) -> None:
    """Show the labels of one identity."""
    entry = agent().get(f"/v1/identity/{number}")
    emit([entry], output, table(("ID", "LABELS"), identity_rows([entry], None)))
