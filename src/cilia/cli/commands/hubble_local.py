"""`cilia hubble enable|disable|port-forward|record`: Hubble as such, here or in a cluster."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from cilia.cli.errors import ClientError
from cilia.cli.grammar import place
from cilia.cli.hubble.forwarding import Cluster, forward
from cilia.cli.hubble.gateway import serve


@click.command()
def enable() -> None:
    """Start this lab node's observer, where it was disabled."""
    _switch("start")
    click.echo("hubble is enabled; `cilia hubble observe` shows what it sees")


@click.command()
def disable() -> None:
    """Stop this lab node's observer until `enable`: nothing is seen, nothing is kept in memory."""
    _switch("stop")
    click.echo("hubble is disabled; what was in memory is gone, policies are enforced as before")


def _switch(verb: str) -> None:
    """Starts or stops the observer of the chosen node, as its lab does.

    Raises:
        ClientError: it is no lab's node, or the lab refuses.
    """
    folder = place().agent_socket.parent
    if folder.parent.name != "nodes":
        raise ClientError(
            f"the observer of {folder} is not ours to {verb}: no lab runs it",
            f"{verb} the program `cilia observer` where it was started",
        )
    lab = folder.parents[1].name
    words = [sys.executable, "-m", "cilia", "lab", verb, f"{folder.name}/observer", "--name", lab]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise ClientError(f"the lab {lab} does not {verb} its observer: {said}")


def kube_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags that choose a cluster."""
    for add in (
        click.option("-n", "--namespace", default="kube-system", help="where the relay is"),
        click.option("--context", default="", metavar="NAME", help="context of the kubeconfig"),
        click.option("--kubeconfig", default="", metavar="FILE", help="which cluster"),
    ):
        command = add(command)
    return command


@click.command(name="port-forward")
@click.option("--port-forward", "port", type=click.IntRange(0, 65535), default=4245, metavar="PORT")
@kube_options
def port_forward(port: int, kubeconfig: str, context: str, namespace: str) -> None:
    """Lead a port of this machine (4245) to Hubble, until interrupted.

    To this node's or lab's socket; to the relay of a cluster, with kubectl, where there is
    none or a cluster is named.
    """
    socket = None if kubeconfig or context else _local_socket()
    if socket is None:
        code = forward(Cluster(kubeconfig, context, namespace), port)
        raise SystemExit(code)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(socket, port, lambda address: _tell(address, socket)))


def _tell(address: str, socket: Path) -> None:
    click.echo(f"{address} leads to {socket}; Ctrl-C ends it")


def _local_socket() -> Path | None:
    """Where the relay of all nodes or this node's observer answers; None: nothing runs here."""
    try:
        found = place().relay_socket or place().hubble_socket
    except ClientError:
        return None
    return found if found.exists() else None


@click.command(hidden=True)
@click.argument("words", nargs=-1)
def record(words: tuple[str, ...]) -> NoReturn:
    """Refused: packets are not captured."""
    raise ClientError(
        "packets are not captured: the datapath has no recorder, and Hubble's API none since 1.19",
        "`cilia hubble observe -o json` records flows; tcpdump on a pod's device records packets",
    )
