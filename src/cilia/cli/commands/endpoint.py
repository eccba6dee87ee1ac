"""`cilia endpoint`: the pods of this node and what is enforced on them."""

from typing import Any
from urllib.parse import quote

import click

from cilia.cli.errors import ClientError
from cilia.cli.grammar import AliasGroup, agent, output_option
from cilia.cli.output import Cell, colour, emit, table

Json = Any

TITLES = (
    "ENDPOINT",
    "POLICY (ingress)\nENFORCEMENT",
    "POLICY (egress)\nENFORCEMENT",
    "IDENTITY",
    "LABELS (source:key[=value])",
    "IPv6",
    "IPv4",
    "STATUS",
)
WIDE_TITLES = ("POD", "CONTAINER", "INTERFACE")


@click.group(cls=AliasGroup)
def endpoint() -> None:
    """Endpoints: pods and their state on this node."""


def enforcement(enabled: str, direction: str) -> str:
    """The table's word for one direction of `policy-enabled`.

    >>> enforcement("both", "ingress"), enforcement("audit-egress", "egress")
    ('Enabled', 'Disabled (Audit)')
    """
    if not enabled:
        return "Unknown"
    audit, _, which = enabled.rpartition("-")
    if which not in (direction, "both"):
        return "Disabled"
    return "Disabled (Audit)" if audit == "audit" else "Enabled"


def endpoint_row(entry: Json, wide: bool) -> list[Cell]:
    """One endpoint of the REST API as table cells."""
    status = entry["status"]
    networking = status.get("networking") or {}
    addresses = (networking.get("addressing") or [{}])[0]
    enabled = ((status.get("policy") or {}).get("realized") or {}).get("policy-enabled", "")
    identity = status.get("identity") or {}
    labels = sorted(identity.get("labels") or []) or ["no labels"]
    row: list[Cell] = [
        str(entry["id"]),
        enforcement(enabled, "ingress"),
        enforcement(enabled, "egress"),
        str(identity.get("id") or "<no label id>"),
        labels,
        addresses.get("ipv6", ""),
        addresses.get("ipv4", ""),
        status["state"],
    ]
    if wide:
        who = status.get("external-identifiers") or {}
        row += [
            who.get("pod-name", ""),
            who.get("container-id", "")[:12],
            networking.get("interface-name", ""),
        ]
    return row


@endpoint.command("list")
@click.option("--no-headers", is_flag=True, help="leave the titles out")
@output_option
def list_(no_headers: bool, output: str) -> None:
    """List every endpoint of this node."""
    entries = sorted(agent().get("/v1/endpoint"), key=lambda entry: entry["id"])
    wide = output == "wide"
    text = table(
        (*TITLES, *WIDE_TITLES) if wide else TITLES,
        [endpoint_row(entry, wide) for entry in entries],
    )
    emit(entries, output, "\n".join(text.split("\n")[2:]) if no_headers else text)


@endpoint.command("get")
@click.argument("name", metavar="ID", required=False)
@click.option("-l", "--labels", multiple=True, help="every endpoint that carries this label")
@click.option("-o", "--output", default="json", help="json, yaml or jsonpath='{.field}'")
def get(name: str | None, labels: tuple[str, ...], output: str) -> None:
    """Show an endpoint whole: ID, container-id:ID, or pod-name:NAMESPACE:NAME."""
    if (name is None) == (not labels):
        raise click.UsageError("name an endpoint, or select some with -l")
    if name is not None:
        emit([agent().get(f"/v1/endpoint/{quote(name, safe=':')}")], output)
        return
    chosen = [
        entry
        for entry in agent().get("/v1/endpoint")
        if set(labels) <= set((entry["status"].get("identity") or {}).get("labels") or [])
    ]
    if not chosen:
        raise ClientError(f"no endpoint carries {', '.join(labels)}", "see `cilia endpoint list`")
    emit(chosen, output)


@endpoint.command("log")
@click.argument("name", metavar="ID")
@output_option
def log(name: str, output: str) -> None:
    """Show the states that an endpoint went through."""
    entries = agent().get(f"/v1/endpoint/{quote(name, safe=':')}/log")
    rows = [
        [
            entry.get("timestamp", ""),
            colour(entry.get("code", "").upper(), "green" if entry.get("code") == "ok" else "red"),
            entry.get("state", ""),
            entry.get("message", ""),
        ]
        for entry in entries
    ]
    emit(entries, output, table(("Timestamp", "Status", "State", "Message"), rows))


@endpoint.command("config")
@click.argument("name", metavar="ID")
@click.argument("options", metavar="[OPTION=VALUE]...", nargs=-1)
@output_option
def config(name: str, options: tuple[str, ...], output: str) -> None:
    """Show what is chosen for an endpoint, or choose: PolicyAuditMode=Enabled|Disabled.

    In audit mode, what policy would drop passes and is reported; the choice outlives restarts.
    """
    path = f"/v1/endpoint/{quote(name, safe=':')}/config"
    if not options:
        answer = agent().get(path)
    else:
        answer = agent().patch(path, {"options": dict(map(option, options))})
    held = answer["realized"]["options"]
    lines = [f"{key:<34}: {value}" for key, value in sorted(held.items())]
    emit(answer, output, "\n".join(lines))


def option(text: str) -> tuple[str, str]:
    """An option and its value.

    >>> option("PolicyAuditMode=Enabled")
    ('PolicyAuditMode', 'Enabled')
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r} has no value; write PolicyAuditMode=Enabled")
    return name, value
