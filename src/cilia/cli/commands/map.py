"""`cilia map`: the kernel maps that the agent fills."""

import click

from cilia.cli.grammar import AliasGroup, agent, output_option
from cilia.cli.output import colour, emit, table


@click.group("map", cls=AliasGroup)
def map_() -> None:
    """Kernel maps: what the agent wants in them and how full they are."""


@map_.command("list")
@output_option
def list_(output: str) -> None:
    """List the maps, their entries and errors."""
    maps = agent().get("/v1/map").get("maps") or []
    titles = ["Name", "Num entries", "Num errors", "Cache enabled"]
    rows = []
    for entry in sorted(maps, key=lambda entry: entry["path"]):
        cache = entry.get("cache") or []
        errors = entry.get("errors", sum(1 for row in cache if row.get("last-error")))
        row = [
            entry["path"].rpartition("/")[2],
            str(entry.get("entries", len(cache))),
            colour(str(errors), "red") if errors else "0",
            "true" if "cache" in entry else "false",
        ]
        if output == "wide":
            capacity = entry.get("capacity", 0)
            share = entry.get("entries", len(cache)) / capacity if capacity else 0.0
            row += [str(capacity), f"{share:.1%}"]
        rows.append(row)
    if output == "wide":
        titles += ["Capacity", "Full"]
    emit(maps, output, table(titles, rows))


@map_.command("get")
@click.argument("name")
@output_option
def get(name: str, output: str) -> None:
    """Show the entries of one map."""
    entry = agent().get(f"/v1/map/{name}")
    rows = [
        [
            row["key"],
            row.get("value", ""),
            row.get("desired-action", "ok"),
            row.get("last-error", ""),
        ]
        for row in entry.get("cache") or []
    ]
    emit(entry, output, table(("Key", "Value", "State", "Error"), rows))
