"""`cilia status`: is every part of this node well?"""

import time
from typing import Any

import click

from cilia.cli.errors import ClientError
from cilia.cli.grammar import agent, output_option, place
from cilia.cli.hubble.account import connections_text, events_text, read_account
from cilia.cli.output import colour, emit

Json = Any

WIDTH = 24
POLL_S = 0.2


def unhealthy(status: Json) -> list[str]:
    """What is not well, one sentence a part; empty when all is."""
    found = []
    for name in ("cilium", "kubernetes", "cni-file", "policy-files", "hubble", "bpf-maps"):
        part = status.get(name) or {}
        if part.get("state") in ("Failure", "Warning"):
            found.append(f"{name}: {part.get('msg', part['state'])}")
    for controller in status.get("controllers") or []:
        state = controller.get("status") or {}
        if state.get("consecutive-failure-count", 0):
            found.append(f"controller {controller['name']}: {state.get('last-failure-msg', '')}")
    return found


def _part(part: Json) -> str:
    state = part.get("state", "")
    word = colour(state.ljust(8), {"Ok": "green", "Failure": "red"}.get(state, "yellow"))
    return f"{word} {part.get('msg', '')}".rstrip()


def _masquerading(status: Json) -> str:
    part = status.get("masquerading") or {}
    if not part.get("enabled"):
        return "Disabled"
    families = part.get("enabledProtocols") or {}
    words = {True: "Enabled", False: "Disabled"}
    return (
        f"{part.get('mode', 'BPF')}   {part.get('snat-exclusion-cidr', '')}   "
        f"[IPv4: {words[bool(families.get('ipv4'))]}, IPv6: {words[bool(families.get('ipv6'))]}]"
    )


def status_lines(status: Json, verbose: bool) -> list[str]:
    """The parts of a StatusResponse, one a line; with its `observer`, what that saw and lost."""
    ipam = status.get("ipam") or {}
    controllers = status.get("controllers") or []
    failing = [c for c in controllers if (c.get("status") or {}).get("consecutive-failure-count")]
    parts = {
        "Kubernetes": _part(status.get("kubernetes") or {}),
        "Kubernetes APIs": str((status.get("kubernetes") or {}).get("k8s-api-versions") or []),
        "KubeProxyReplacement": str((status.get("kube-proxy-replacement") or {}).get("mode", "")),
        "CNI Config file": _part(status.get("cni-file") or {}),
        "Policy files": _part(status.get("policy-files") or {"state": "Disabled"}),
        "Cilium": _part(status.get("cilium") or {}),
        "NodeMonitor": _monitor(status.get("nodeMonitor")),
        "IPAM": ipam.get("status", ""),
        "Routing": _routing(status.get("routing") or {}),
        "Attach Mode": str(status.get("attach-mode", "")).upper(),
        "Device Mode": (status.get("datapath-mode") or "veth"),
        "Masquerading": _masquerading(status),
        "BPF Maps": _part(status.get("bpf-maps") or {}),
        "Controller Status": f"{len(controllers) - len(failing)}/{len(controllers)} healthy",
        "Hubble": _part(status.get("hubble") or {"state": "Disabled"}),
    }
    if status.get("observer"):
        parts["Events"] = events_text(status["observer"])
        parts["Connections"] = connections_text(status["observer"])
    lines = [f"{name + ':':<{WIDTH}}{text}".rstrip() for name, text in parts.items()]
    at = next(i for i, line in enumerate(lines) if line.startswith("Controller Status"))
    lines[at + 1 : at + 1] = [_controller(c) for c in (controllers if verbose else failing)]
    if verbose:
        lines += _maps(status.get("bpf-maps") or {})
        lines += [f"  {ip}: {owner}" for ip, owner in (ipam.get("allocations") or {}).items()]
    return lines


def _monitor(part: Json) -> str:
    if not part:
        return "Disabled"
    lost = f", {part['lost']} events lost" if part.get("lost") else ""
    size = f"{part.get('npages', 0)}x{part.get('pagesize', 0)}"
    return f"Listening for events on {part.get('cpus', 0)} CPUs with {size} of shared memory{lost}"


def _routing(part: Json) -> str:
    network, host = part.get("inter-host-routing-mode", ""), part.get("intra-host-routing-mode", "")
    return f"Network: {network}   Host: {host}"


def _controller(controller: Json) -> str:
    state = controller.get("status") or {}
    return (
        f"  {controller['name']:<32} {state.get('consecutive-failure-count', 0):>4}   "
        f"{state.get('last-failure-msg', '')}"
    ).rstrip()


def _maps(part: Json) -> list[str]:
    rows = part.get("maps") or []
    return ["BPF Maps:"] + [
        f"  {row['name']:<24} {row.get('entries', ''):>8} of {row.get('size', 0)}" for row in rows
    ]


def wait_ready(limit_s: float) -> Json:
    """The status once nothing is unhealthy.

    Raises:
        ClientError: something still is after `limit_s` seconds; the message says what.
    """
    deadline = time.monotonic() + limit_s
    while True:
        try:
            answer = agent().get("/v1/healthz")
            troubles = unhealthy(answer)
        except ClientError as error:
            answer, troubles = None, [error.message]
        if not troubles:
            return answer
        if time.monotonic() > deadline:
            raise ClientError(f"not ready after {limit_s:g} s: {troubles[0]}")
        time.sleep(POLL_S)


@click.command()
@click.option("--wait", is_flag=True, help="wait until all is well")
@click.option("--wait-duration", "limit_s", default=300.0, help="seconds to wait at most")
@click.option("--brief", is_flag=True, help="one word, or what is not well, a line each")
@click.option("--verbose", is_flag=True, help="every controller, map and address")
@output_option
@click.pass_context
def status(
    ctx: click.Context, wait: bool, limit_s: float, brief: bool, verbose: bool, output: str
) -> None:
    """Show whether every part of this node is well; exit code 1 when one is not."""
    answer = wait_ready(limit_s) if wait else agent().get("/v1/healthz")
    troubles = unhealthy(answer)
    answer["observer"] = read_account(place().observer_socket)
    if brief:
        click.echo("\n".join(troubles) or "OK")
    else:
        emit(answer, output, "\n".join(status_lines(answer, verbose or output == "wide")))
    ctx.exit(1 if troubles else 0)
