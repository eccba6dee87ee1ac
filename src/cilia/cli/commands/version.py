"""`cilia version`: of this client and of the agent it talks to."""

import platform

import click

from cilia import __version__
from cilia.cli.errors import ClientError
from cilia.cli.grammar import agent
from cilia.cli.output import emit


def this_version() -> str:
    """The version line of this process."""
    return (
        f"{__version__} python {platform.python_version()} {platform.system()}/{platform.machine()}"
    )


@click.command()
@click.option("--client", "client_only", is_flag=True, help="only this client's version")
@click.option("-o", "--output", default="table", metavar="FORMAT", help="json, yaml, jsonpath=…")
def version(client_only: bool, output: str) -> None:
    """Show the versions of this client and of the agent."""
    answer = {"Client": {"Version": this_version()}}
    lines = [f"Client: {this_version()}"]
    if not client_only:
        try:
            status = agent().get("/v1/healthz")
            daemon = (status.get("cilium") or {}).get("msg", "")
        except ClientError as error:
            daemon = f"not reachable ({error.message})"
        answer["Daemon"] = {"Version": daemon}
        lines.append(f"Daemon: {daemon}")
    emit(answer, output, "\n".join(lines))
