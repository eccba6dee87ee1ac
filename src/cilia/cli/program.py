"""`cilia …`: the tree of commands."""

import click

from cilia.cli.grammar import LazyGroup, run
from cilia.cli.places import Place

COMMANDS = {
    word: f"cilia.cli.commands.{module}:{attribute}"
    for word, module, attribute in (
        ("bpf", "bpf", "bpf"),
        ("config", "config", "config"),
        ("endpoint", "endpoint", "endpoint"),
        ("hubble", "hubble", "hubble"),
        ("identity", "identity", "identity"),
        ("ip", "ip", "ip"),
        ("map", "map", "map_"),
        ("metrics", "metrics", "metrics"),
        ("monitor", "monitor", "monitor"),
        ("node", "node", "node"),
        ("policy", "policy", "policy"),
        ("service", "service", "service"),
        ("status", "status", "status"),
        ("version", "version", "version"),
        ("why", "why", "why"),
    )
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`cilia lab up` makes a cluster on this machine; `cilia lab --help` says more.",
)
@click.option("-H", "--host", metavar="SOCKET", help="the agent's unix socket [CILIA_SOCK]")
@click.option("--lab", metavar="NAME", help="talk to a node of this lab [CILIA_LAB]")
@click.option("--node", metavar="NAME", help="talk to this node of the lab [CILIA_NODE]")
@click.pass_context
def cilia(ctx: click.Context, host: str | None, lab: str | None, node: str | None) -> None:
    """eBPF networking, observability and security for containers."""
    ctx.obj = Place(host, lab, node)


def main(arguments: list[str]) -> None:
    """Runs the command line client with the words after `cilia`."""
    run(cilia, arguments, "cilia")
