"""`cilia config`: the agent's settings and where each came from."""

from typing import Any

import click

from cilia.cli.errors import ClientError
from cilia.cli.grammar import agent, output_option
from cilia.cli.output import emit, table

Json = Any


def settings_of(answer: Json) -> dict[str, Json]:
    """Every setting of the daemon's configuration: name -> value, or value and source."""
    status = answer.get("status") or {}
    return dict(status.get("daemonConfigurationMap") or {})


@click.command()
@click.argument("name", required=False)
@click.option("-a", "--all", "all_", is_flag=True, help="also what is at its default")
@output_option
def config(name: str | None, all_: bool, output: str) -> None:
    """Show the agent's settings, or one of them: the value and where it came from."""
    settings = settings_of(agent().get("/v1/config"))
    if name is not None:
        if name not in settings:
            raise ClientError(f"no setting is called {name}", "see `cilia config --all`")
        settings = {name: settings[name]}
    rows = []
    for key, setting in sorted(settings.items()):
        known = isinstance(setting, dict) and "value" in setting
        value, source = (setting["value"], setting.get("source", "")) if known else (setting, "")
        if all_ or name is not None or source != "default":
            rows.append([key, str(value), source])
    emit(settings, output, table(("Setting", "Value", "From"), rows))
