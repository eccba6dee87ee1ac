"""`cilia why`: may this connection be, who says so, and what would turn that round."""

import importlib
import ipaddress
import json
import re
import sys
from typing import Any

import click

from cilia.cli.events import written
from cilia.cli.grammar import agent
from cilia.cli.output import colour, emit
from cilia.model.labels import SOURCES

Json = Any

_PORT = re.compile(r"(?P<to>.+):(?P<port>[\w-]+)(?:/(?P<protocol>\w+))?")
_VERDICTS = {
    "allow": "allowed",
    "deny": "DENIED by a deny rule",
    "default-deny": "DENIED: closed, and no rule allows it",
    "not-enforced": "allowed: no policy closes it",
    "node": "allowed: a node reaches its own pods",
    "unknown": "DENIED: the peer or the policy is not known",
}
_PREPOSITIONS = {"ingress": "from", "egress": "to"}


def split_target(text: str) -> dict[str, str]:
    """The query of `TO[:PORT[/PROTO]]`.

    >>> split_target("xwing:80/udp")
    {'to': 'xwing', 'port': '80', 'protocol': 'udp'}
    >>> split_target("fd00::1"), split_target("[fd00::1]:http"), split_target("k8s:app=a")
    ({'to': 'fd00::1'}, {'to': 'fd00::1', 'port': 'http'}, {'to': 'k8s:app=a'})
    """
    try:
        return {"to": str(ipaddress.ip_address(text.strip("[]")))}
    except ValueError:
        match = _PORT.fullmatch(text)
    if match is None or match["to"].rpartition(",")[2] in SOURCES:
        return {"to": text}
    found = {"to": match["to"].strip("[]"), "port": match["port"]}
    return found | ({"protocol": match["protocol"]} if match["protocol"] else {})


def event_query(text: str) -> dict[str, str]:
    """The query about the connection that an event of `cilia monitor -o json` is of.

    Raises:
        UsageError: it is not such an event.
    """
    try:
        event = json.loads(text)
        source, destination = event["source"], event["destination"]
        if event.get("reason") == "reply":
            source, destination = destination, source
        protocol = event["protocol"]
        port = destination["port"]
        if protocol.upper().startswith("ICMP"):
            port = int(event["icmp"].split()[1])
        return {
            "from": _side(source),
            "to": _side(destination),
            "port": str(port),
            "protocol": protocol,
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise click.UsageError(
            "--event: this is no event of a packet; give one line of `cilia monitor -o json`"
        ) from None


def _side(side: Json) -> str:
    return str(side.get("pod") or side["ip"])


def answer_lines(answer: Json) -> list[str]:
    """The answer first, then each step, then what would turn it round."""
    allowed = answer["allowed"]
    port = f" {answer['port'] or 'any port that no rule names'}/{answer['protocol']}"
    lines = [colour(answer["answer"], "green" if allowed else "red")]
    lines.append(f"  {answer['from']} -> {answer['to']}{port}")
    if answer.get("service"):
        lines.append(f"  service {answer['service']}")
    for step in answer["steps"]:
        word = _PREPOSITIONS[step["direction"]]
        head = f"{step['direction']} of {step['subject']} {word} {step['peer']}"
        lines.append(f"  {head}: {_VERDICTS[step['verdict']]}")
        how = "closed by" if step["verdict"] == "default-deny" else "by"
        lines += [f"    {how} {rule['text']}{written(rule)}" for rule in step["rules"]]
    lines += _backends(answer.get("backends") or [])
    lines += [f"  note: {note}" for note in answer["notes"]]
    if answer["changes"]:
        lines.append(f"  to {'deny' if allowed else 'allow'} it:")
        lines += [line for change in answer["changes"] for line in change_lines(change)]
    return lines


def _backends(backends: list[Json]) -> list[str]:
    return [f"  backend {each['to']}: {each['answer']}" for each in backends]


def change_lines(change: Json) -> list[str]:
    """One change as somebody would do it."""
    name = f"{change['namespace']}/{change['name']}" if change["namespace"] else change["name"]
    policy = f"{change['kind']} {name}" + (f" ({change['source']})" if change.get("source") else "")
    if change["action"] == "delete":
        return [f"    delete {policy}"]
    if change["action"] == "remove":
        return [f"    remove from {policy} {change['path']}"]
    if change["action"] == "add":
        value = json.dumps(change["value"])
        return [f"    add to {policy} {change['path']}: {value}"]
    # Imported by name: it costs 25 ms, which only a whole policy should pay.
    text = importlib.import_module("yaml").safe_dump(change["value"], sort_keys=False)
    return ["    apply:", *(f"      {line}" for line in text.splitlines())]


@click.command()
@click.argument("source", metavar="FROM", required=False)
@click.argument("target", metavar="TO[:PORT[/PROTO]]", required=False)
@click.option("--event", metavar="JSON", help="an event of `cilia monitor -o json`; - reads one")
@click.option("-o", "--output", default="table", metavar="FORMAT", help="json, yaml, jsonpath=…")
def why(source: str | None, target: str | None, event: str | None, output: str) -> None:
    """Say whether a connection may be, which rules decide, and what would change that.

    FROM and TO are pods (namespace/name), services, addresses, identities (numbers) or labels
    (k8s:app=web,k8s:tier=front), whether such a pod exists or not.
    """
    if event is not None:
        line = sys.stdin.readline() if event == "-" else event
        query = event_query(line)
    elif source is None or target is None:
        raise click.UsageError("write FROM and TO, e.g. cilia why xwing deathstar:80, or --event")
    else:
        query = {"from": source, **split_target(target)}
    answer = agent().get("/v1/why", **query)
    emit(answer, output, "\n".join(answer_lines(answer)))
