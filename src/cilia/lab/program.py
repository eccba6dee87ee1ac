"""`cilia lab …`: a cluster on this machine, in one command.

The lab's own programs (`run`, `apiserver`, `kubelet`, …) are words of this one
too, hidden from the help. Programs are imported when they are asked for, so
that none pays for another.
"""

import importlib
import json
import sys
from pathlib import Path

import click

from cilia.lab import commands, settings
from cilia.lab.settings import LabStatus
from cilia.lab.shell import enter_shell
from cilia.lab.site import LabSite
from cilia.lab.teardown import down as take_down
from cilia.model.errors import CiliaError

_NAME = click.option("--name", default="lab", show_default=True, help="Which lab.")

PROGRAMS = {
    "apiserver": "cilia.lab.apiserver.program",
    "controllers": "cilia.lab.controllers.program",
    "kubelet": "cilia.lab.kubelet.program",
    "world": "cilia.lab.world",
    "dns": "cilia.lab.dns",
}
"""Hidden words, and the module whose `main(config: Path)` each of them runs."""


@click.group(help="A cluster on this machine: real pods, real eBPF, no image is pulled.")
def lab() -> None:
    pass


@lab.command(help="Bring the lab up (or find it up) and wait until it is ready.")
@_NAME
@click.option("--demo", multiple=True, help="Apply a demo: starwars.")
@click.option("--nodes", type=int, default=None, help="How many nodes (one, unless it has more).")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait.")
def up(name: str, demo: tuple[str, ...], nodes: int | None, timeout: float) -> None:
    commands.check_machine()
    site = commands.open_site(name, nodes)
    was_up = commands.running_supervisor(site) is not None
    if not was_up:
        click.echo(f"lab {name}: coming up")
    status = commands.up(site, demo, timeout, click.echo)
    click.echo(f"lab {name} {'is up already' if was_up else 'is ready'}; next:")
    suffix = "" if name == "lab" else f" --name {name}"
    click.echo(f"  cilia lab shell{suffix}          a shell with kubectl, cilium and hubble set")
    click.echo(f"  export KUBECONFIG={site.kubeconfig}")
    if "starwars" in demo or any(step.name == "starwars" for step in status.steps):
        click.echo("  kubectl get pods,svc")
        click.echo(
            "  kubectl exec xwing -- curl -s -XPOST "
            "deathstar.default.svc.cluster.local/v1/request-landing"
        )
    click.echo(f"  cilia lab down{suffix}           removes everything")


@lab.command(help="Remove the lab: processes, namespaces, pins, cgroups, mounts, files.")
@_NAME
def down(name: str) -> None:
    removed = take_down(commands.open_site(name))
    for line in removed:
        click.echo(line)
    click.echo(f"lab {name} is gone" if removed else f"lab {name}: there is nothing to remove")


@lab.command(help="Say what runs and what is missing; exits 1 unless all is ready.")
@_NAME
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def status(name: str, output: str) -> None:
    site = commands.open_site(name)
    found = settings.read(site.status_file, LabStatus)
    running = commands.running_supervisor(site) is not None
    if output == "json":
        plain = settings.plain(found) if found else {"name": name}
        click.echo(json.dumps({**plain, "running": running}, indent=2))
    elif found is None or not running:
        click.echo(f"lab {name} does not run; type: cilia lab up --name {name}")
    else:
        click.echo("\n".join(status_lines(found)))
    sys.exit(0 if running and found is not None and found.ready else 1)


def status_lines(found: LabStatus) -> list[str]:
    """A lab's status for people."""
    lines = [f"lab {found.name}: {'ready' if found.ready else 'not ready'}"]
    lines += [f"  waiting for {what}" for what in found.waiting_for]
    lines.append(f"{'PROGRAM':<20} {'STATE':<10} {'PID':<8} {'RESTARTS':<9} LOG")
    for one in found.programs:
        pid = str(one.pid or "-")
        lines.append(f"{one.name:<20} {one.state:<10} {pid:<8} {one.restarts:<9} {one.log}")
    return lines


@lab.command(help="Print the path of the lab's kubeconfig.")
@_NAME
def kubeconfig(name: str) -> None:
    site = commands.open_site(name)
    if not site.kubeconfig.exists():
        raise commands.LabError(f"lab {name} has no kubeconfig yet; type: cilia lab up")
    click.echo(str(site.kubeconfig))


@lab.command(help="Open a shell with KUBECONFIG set, and cilium and hubble as names for ours.")
@_NAME
@click.argument("command", nargs=-1)
def shell(name: str, command: tuple[str, ...]) -> None:
    enter_shell(commands.open_site(name), command)


@lab.command("list", help="Name the labs of this machine.")
def list_labs() -> None:
    for name in commands.labs():
        site = commands.open_site(name)
        state = "running" if commands.running_supervisor(site) else "stopped"
        click.echo(f"{name:<16} {state}")


@lab.command(help="Stop one program (see lab status) and keep it stopped.")
@_NAME
@click.argument("program")
def stop(name: str, program: str) -> None:
    commands.hold(commands.open_site(name), program, held=True)
    click.echo(f"{program} is stopped; type: cilia lab start {program}")


@lab.command(help="Start a program that was stopped.")
@_NAME
@click.argument("program")
def start(name: str, program: str) -> None:
    commands.hold(commands.open_site(name), program, held=False)
    click.echo(f"{program} runs")


def main(words: list[str]) -> None:
    """Runs `cilia lab` with the words that follow it."""
    try:
        if words[:1] == ["run"]:
            _run_supervisor(words[1:])
        elif words and words[0] in PROGRAMS:
            _run_program(words[0], words[1:])
        else:
            lab.main(args=words, prog_name="cilia lab")
    except (CiliaError, OSError, ValueError) as error:
        print(f"cilia lab: {error}", file=sys.stderr)
        sys.exit(1)


def _run_supervisor(words: list[str]) -> None:
    if len(words) != 2 or words[0] != "--name":
        raise commands.LabError("usage: cilia lab run --name NAME")
    site: LabSite = commands.open_site(words[1])
    importlib.import_module("cilia.lab.supervisor").main(site)


def _run_program(program: str, words: list[str]) -> None:
    if len(words) != 2 or words[0] != "--config":
        raise commands.LabError(f"usage: cilia lab {program} --config FILE")
    module = importlib.import_module(PROGRAMS[program])
    module.main(words if program == "kubelet" else Path(words[1]))
