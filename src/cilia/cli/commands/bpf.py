"""`cilia bpf`: what is really in the kernel's maps, numbers resolved to names.

Rows come from `GET /v1/bpf/<map>`, read from the kernel at that moment.
"""

from collections.abc import Callable, Sequence
from typing import Any

import click

from cilia.cli.errors import ClientError
from cilia.cli.grammar import AliasGroup, agent, output_option
from cilia.cli.output import Cell, emit, table

Json = Any


@click.group()
def bpf() -> None:
    """The kernel's maps, as they are now."""


def _host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _labels(row: Json, numeric: bool) -> list[str]:
    numbers = [str(number) for number in row.get("identities") or []]
    if numeric:
        return numbers or ["ANY"]
    return sorted(row.get("labels") or []) or numbers or ["ANY"]


def endpoint_cells(row: Json) -> list[Cell]:
    """`IP ADDRESS  LOCAL ENDPOINT INFO`."""
    flags = ",".join(row.get("flags") or []) or "<none>"
    text = (
        f"id={row['id']:<5} sec_id={row['identity']:<5} flags={flags} ifindex={row['ifindex']} "
        f"mac={row['mac']} nodemac={row['node-mac']} policy={row['policy']} "
        f"generation={row['generation']}"
    )
    return [f"{row['ip']}:0", text]


def ipcache_cells(row: Json) -> list[Cell]:
    """`IP PREFIX/ADDRESS  IDENTITY`."""
    tunnel = row.get("tunnel") or "0.0.0.0"
    return [
        row["prefix"],
        f"identity={row['identity']} class={row.get('class', 0)} tunnelendpoint={tunnel}",
        sorted(row.get("labels") or []) or [""],
    ]


def policy_cells(row: Json, numeric: bool) -> list[Cell]:
    """One row of the policy map, with the endpoints and rules that it serves."""
    protocol = row.get("protocol") or "ANY"
    port = row.get("port") or 0
    return [
        row["action"],
        row["direction"],
        _labels(row, numeric),
        f"{port}/{protocol}" if port else protocol,
        str(row.get("proxy-port") or "NONE"),
        str(row.get("prefix", 0)),
        row.get("rules") or ["-"],
    ]


POLICY_TITLES = (
    "POLICY",
    "DIRECTION",
    "LABELS (source:key[=value])",
    "PORT/PROTO",
    "PROXY PORT",
    "PREFIX",
    "RULES",
)


def ct_line(row: Json) -> str:
    """One connection: both directions' packets and bytes."""
    source = _host_port(row["source"], row["source-port"])
    destination = _host_port(row["destination"], row["destination-port"])
    tx, rx = row["tcp-flags"]
    return (
        f"{row['protocol']} {source} -> {destination} expires={row['expires']} "
        f"Packets={row['packets'][0]}/{row['packets'][1]} "
        f"Bytes={row['bytes'][0]}/{row['bytes'][1]} "
        f"TxFlagsSeen={tx:#04x} RxFlagsSeen={rx:#04x} Flags=[ {' '.join(row['flags'])} ] "
        f"SourceSecurityID={row['source-identity']} "
        f"DestinationSecurityID={row['destination-identity']}"
    )


def nat_line(row: Json) -> str:
    """One masquerade mapping."""
    source = _host_port(row["source"], row["source-port"])
    destination = _host_port(row["destination"], row["destination-port"])
    word = "XLATE_SRC" if row["direction"] == "OUT" else "XLATE_DST"
    return (
        f"{row['protocol']} {row['direction']} {source} -> {destination} {word} "
        f"{_host_port(row['to'], row['to-port'])} Created={row['created-seconds-ago']}sec ago"
    )


def lb_cells(row: Json) -> list[Cell]:
    """`SERVICE ADDRESS  BACKEND ADDRESS (REVNAT_ID) (SLOT)`."""
    flags = f" [{', '.join(row['flags'])}]" if row.get("flags") else ""
    backend = row.get("backend") or "0.0.0.0:0"
    return [row["frontend"], f"{backend} ({row['reverse']}) ({row['slot']}){flags}"]


def _lines(rows: Sequence[Json], line: Callable[[Json], str]) -> str:
    return "\n".join(line(row) for row in rows)


def _noun(name: str, text: str) -> click.Group:
    group = AliasGroup(name, help=text)
    bpf.add_command(group)
    return group


def _list(group: click.Group, path: str, show: Callable[[Sequence[Json]], str], text: str) -> None:
    @group.command("list", help=text)
    @output_option
    def list_(output: str) -> None:
        rows = agent().get(f"/v1/bpf/{path}")
        emit(rows, output, show(rows))


_list(
    _noun("endpoint", "Endpoints of this node."),
    "endpoint",
    lambda rows: table(("IP ADDRESS", "LOCAL ENDPOINT INFO"), [endpoint_cells(r) for r in rows]),
    "List the addresses of this node's endpoints.",
)
_ct = _noun("ct", "Connections.")
_list(_ct, "ct", lambda rows: _lines(rows, ct_line), "List tracked connections.")
_list(
    _noun("nat", "Masqueraded connections."),
    "nat",
    lambda rows: _lines(rows, nat_line),
    "List masquerade mappings.",
)
_list(
    _noun("lb", "Load-balancing."),
    "lb",
    lambda rows: table(
        ("SERVICE ADDRESS", "BACKEND ADDRESS (REVNAT_ID) (SLOT)"), [lb_cells(r) for r in rows]
    ),
    "List frontends and their backends.",
)
_list(
    _noun("metrics", "What programs counted."),
    "metrics",
    lambda rows: table(
        ("REASON", "DIRECTION", "PACKETS", "BYTES"),
        [[r["reason"], r["direction"], str(r["packets"]), str(r["bytes"])] for r in rows],
    ),
    "List packets by reason and direction; what was let through is Success.",
)
_ipcache = _noun("ipcache", "Which identity owns an address.")
_list(
    _ipcache,
    "ipcache",
    lambda rows: table(
        ("IP PREFIX/ADDRESS", "IDENTITY", "LABELS"), [ipcache_cells(r) for r in rows]
    ),
    "List every prefix.",
)
_policy = _noun("policy", "Policy rows.")


@_ct.command("flush")
def flush() -> None:
    """Forget every tracked connection; those that policy allows are tracked anew."""
    answer = agent().delete("/v1/bpf/ct")
    click.echo(f"{answer.get('deleted', 0)} connections forgotten")


@_ipcache.command("get")
@click.argument("address", metavar="IP")
def ipcache_get(address: str) -> None:
    """Say which identity owns one address."""
    rows = agent().get("/v1/bpf/ipcache", match=address)
    if not rows:
        raise ClientError(f"{address} does not map to any identity")
    labels = " ".join(sorted(rows[0].get("labels") or []))
    click.echo(f"{address} maps to identity {rows[0]['identity']} {labels}".rstrip())


@_policy.command("list")
@click.option("-n", "--numeric", is_flag=True, help="identity numbers, not labels")
@output_option
def policy_list(numeric: bool, output: str) -> None:
    """List the rows of every endpoint of this node."""
    rows = agent().get("/v1/bpf/policy")
    cells = [[str(r.get("endpoints") or ""), *policy_cells(r, numeric)] for r in rows]
    emit(rows, output, table(("ENDPOINTS", *POLICY_TITLES), cells))


@_policy.command("get")
@click.argument("number", metavar="ENDPOINT", type=int)
@click.option("-n", "--numeric", is_flag=True, help="identity numbers, not labels")
@output_option
def policy_get(number: int, numeric: bool, output: str) -> None:
    """List the rows that one endpoint enforces."""
    rows = agent().get("/v1/bpf/policy", endpoint=str(number))
    emit(rows, output, table(POLICY_TITLES, [policy_cells(r, numeric) for r in rows]))
