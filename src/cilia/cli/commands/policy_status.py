"""`cilia policy list`: every policy, and how far it is enforced."""

from typing import Any

import click

from cilia.cli.grammar import agent, output_option
from cilia.cli.output import Cell, emit, table

Json = Any

TITLES = ("KIND", "NAMESPACE", "NAME", "VALID", "ENFORCED", "RULES", "MESSAGE")
WIDE = ("REVISION", "ENDPOINTS")


@click.command("list")
@output_option
def list_(output: str) -> None:
    """List the policies, and how many endpoints of this node enforce each.

    `-o wide` names the endpoints; those that do not enforce the policy are marked.
    """
    rows = agent().get("/v1/policy/status") or []
    wide = output == "wide"
    cells = [status_cells(row, wide=wide) for row in rows]
    emit(rows, output, table((*TITLES, *WIDE) if wide else TITLES, cells))


def status_cells(row: Json, *, wide: bool) -> list[Cell]:
    """One policy as a line; with `wide`, a line an endpoint."""
    cells: list[Cell] = [
        row["kind"],
        row["namespace"] or "-",
        row["name"],
        "True" if row["valid"] else "False",
        f"{row['enforced']}/{row['selected']}",
        str(row["rules"]),
        messages(row) or [""],
    ]
    if wide:
        missing = set(row["missing"])
        pods = [f"{pod} (not enforced)" if pod in missing else pod for pod in row["pods"]]
        cells += [str(row["revision"]), pods or [""]]
    return cells


def messages(row: Json) -> list[str]:
    """What there is to say of a policy: why it is refused or behind, and what is odd."""
    found = [row["error"]] if row["error"] else []
    if row["missing"] and row["valid"]:
        found.append(f"not enforced by {', '.join(row['missing'])}: {row['reason']}")
    return [*found, *(f"warning: {text}" for text in row["warnings"])]
