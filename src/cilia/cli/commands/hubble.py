"""`cilia hubble …`: flows, and who keeps them."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cilia import __version__
from cilia.cli.errors import ClientError
from cilia.cli.grammar import AliasGroup
from cilia.cli.hubble.options import (
    ServerFlags,
    config_file,
    connect,
    defaults,
    option,
    read_config,
    server_options,
)

COMMANDS = {
    word.replace("_", "-"): f"cilia.cli.commands.{module}:{word}"
    for word, module in (
        ("config", "hubble_config"),
        ("disable", "hubble_local"),
        ("enable", "hubble_local"),
        ("observe", "hubble_observe"),
        ("port_forward", "hubble_local"),
        ("record", "hubble_local"),
    )
}
LISTS = {
    word: f"cilia.cli.commands.hubble_connections:{word}" for word in ("connections", "totals")
}
WIDE = ("dict", "json", "table", "wide")


class Words(AliasGroup):
    """Groups that know the stock tool's short words."""

    ALIASES: Mapping[str, str] = {
        "node": "nodes", "namespace": "namespaces", "peer": "peers", "w": "watch"
    }  # fmt: skip


@click.group(cls=Words, lazy=COMMANDS)
@click.option("--config", "file", metavar="FILE", help="defaults of flags [HUBBLE_CONFIG]")
@option("-D", "--debug", is_flag=True, help="say what is being done on stderr")
@click.pass_context
def hubble(ctx: click.Context, file: str | None, debug: bool) -> None:
    """Who talked to whom, and why it was allowed."""
    ctx.meta["hubble.debug"] = debug
    path = Path(file) if file else config_file()
    ctx.meta["hubble.config"] = path
    ctx.default_map = defaults(read_config(path))


def _report() -> Any:
    """Imported when there is an answer to show: it brings the messages with it."""
    return importlib.import_module("cilia.cli.hubble.report")


@hubble.command()
@option("-o", "--output", default="compact", type=click.Choice(("compact", *WIDE)))
@server_options
def status(server: ServerFlags, output: str) -> None:
    """Show how an observer or a relay is."""
    observer = connect(server)
    if not observer.is_healthy():
        raise ClientError(f"the server at {server.address()} says that it does not serve")
    click.echo(_report().status(observer.status(), output, server.address().removeprefix("tls://")))


@hubble.group(name="list", cls=Words, lazy=LISTS)
def list_() -> None:
    """List what observers know."""


@list_.command()
@option("-o", "--output", default="table", type=click.Choice(WIDE))
@server_options
def nodes(server: ServerFlags, output: str) -> None:
    """List the nodes whose flows a relay has."""
    click.echo(_report().nodes(connect(server).nodes(), output))


@list_.command()
@option("-o", "--output", default="table", type=click.Choice(WIDE))
@server_options
def namespaces(server: ServerFlags, output: str) -> None:
    """List the namespaces that flows were seen in lately."""
    click.echo(_report().namespaces(connect(server).namespaces(), output))


@hubble.group(cls=Words)
def watch() -> None:
    """Watch what observers know."""


@watch.command()
@server_options
def peers(server: ServerFlags) -> None:
    """Show the nodes an observer knows, and every change."""
    for change in connect(server, of_node=True).peers():
        click.echo(_report().peer(change))


@hubble.command()
@click.option("-o", "--output", default="text", type=click.Choice(("text", "json")))
def version(output: str) -> None:
    """Show the version of this command."""
    click.echo(
        json.dumps({"version": __version__}) if output == "json" else f"hubble v{__version__}"
    )
