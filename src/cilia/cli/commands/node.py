"""`cilia node`: the nodes of the cluster."""

from typing import Any

import click

from cilia.cli.grammar import AliasGroup, agent, output_option
from cilia.cli.output import emit, table

Json = Any


@click.group(cls=AliasGroup)
def node() -> None:
    """Nodes of the cluster."""


def _family(entry: Json, family: str) -> list[str]:
    part = (entry.get("primary-address") or {}).get(family) or {}
    return [part.get("ip", ""), part.get("alloc-range", "")]


@node.command("list")
@output_option
def list_(output: str) -> None:
    """List the nodes with their addresses and pod networks."""
    entries = agent().get("/v1/cluster/nodes").get("nodes-added") or []
    titles = ("Name", "IPv4 Address", "Endpoint CIDR", "IPv6 Address", "Endpoint CIDR", "Source")
    rows = [
        [e["name"], *_family(e, "ipv4"), *_family(e, "ipv6"), e.get("source", "")]
        for e in sorted(entries, key=lambda e: e["name"])
    ]
    emit(entries, output, table(titles, rows))
