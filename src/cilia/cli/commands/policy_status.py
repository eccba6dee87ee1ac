"""`cilia policy list`, `stats`, `conflicts`: what became of policies and their rules."""

import time
from typing import Any

import click

from cilia.cli.grammar import agent, output_option
from cilia.cli.output import Cell, emit, table

Json = Any

TITLES = ("KIND", "NAMESPACE", "NAME", "SOURCE", "VALID", "ENFORCED", "RULES", "MESSAGE")
WIDE = ("REVISION", "ENDPOINTS")
STATS = (
    "KIND",
    "POLICY",
    "RULE",
    "DIRECTION",
    "VERDICT",
    "CONNECTIONS",
    "PACKETS",
    "BYTES",
    "LAST HIT",
    "WRITTEN",
)


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
        row["source"],
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


@click.command("stats")
@click.option("--unused", is_flag=True, help="only rules that nothing has met")
@output_option
def stats(unused: bool, output: str) -> None:
    """Show what each rule has let through, and what it has denied, on this node.

    allow: connections, and packets both ways. deny: packets that were dropped. default-deny:
    packets that were dropped because the policy closes the direction and no rule allows them;
    where several policies close it, each counts them. Counts outlive the agent.
    """
    answer = agent().get("/v1/policy/stats")
    rules = [rule for rule in answer["rules"] if not unused or is_unused(rule)]
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(answer["since"]))
    cells = [stats_cells(rule, time.time()) for rule in rules]
    text = f"{table(STATS, cells)}\nCounted since {since}"
    if lost := answer["denied-unaccounted"]["packets"]:
        text += f"\n{lost} more packets were denied under rules that are not known any more"
    emit({**answer, "rules": rules}, output, text)


def is_unused(rule: Json) -> bool:
    """True if nothing has met a rule; a direction that is closed in vain is none."""
    return rule["verdict"] != "default-deny" and rule["last-hit"] is None


def stats_cells(rule: Json, now: float) -> list[Cell]:
    """One rule as a line."""
    name = f"{rule['namespace']}/{rule['name']}" if rule["namespace"] else rule["name"]
    cells: list[Cell] = [rule["kind"], name, rule["path"] or "-", rule["direction"]]
    begun = str(rule["connections"]) if rule["verdict"] == "allow" or rule["connections"] else "-"
    counts = [rule["verdict"], begun, str(rule["packets"]), str(rule["bytes"])]
    return [*cells, *counts, ago(rule["last-hit"], now), rule.get("place", "")]


def ago(moment: float | None, now: float) -> str:
    """How long ago something was, in its greatest unit.

    >>> ago(None, 0), ago(0.0, 59.9), ago(0.0, 7300.0)
    ('never', '59s ago', '2h ago')
    """
    if moment is None:
        return "never"
    seconds = max(int(now - moment), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"


@click.command("conflicts")
@output_option
def conflicts(output: str) -> None:
    """Show rules that get in each other's way, in the cluster as it is now.

    dead: speaks of nobody. shadowed: deny rules deny all of it. overlapping: they deny part
    of it. duplicate, redundant: another rule says the same, or more.
    """
    answer = agent().get("/v1/policy/conflicts")
    rows: list[list[Cell]] = [
        [
            each["kind"],
            rule_name(each["rule"]),
            each["detail"],
            [rule_name(other) for other in each["others"]] or ["-"],
        ]
        for each in answer["conflicts"]
    ]
    rest = "" if answer["complete"] else "; there are more rules than were compared"
    word = "conflict" if len(rows) == 1 else "conflicts"
    count = f"{len(rows)} {word} among {answer['rules']} rules{rest}"
    text = f"{table(('CONFLICT', 'RULE', 'WHY', 'OTHER RULES'), rows)}\n{count}" if rows else count
    emit(answer["conflicts"], output, text)


def rule_name(rule: Json) -> str:
    """A rule as other commands name it."""
    name = f"{rule['namespace']}/{rule['name']}" if rule["namespace"] else rule["name"]
    return f"{rule['kind']} {name} {rule['path']}"
