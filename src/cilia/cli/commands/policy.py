"""`cilia policy`: the rules that this node enforces."""

import json
import time

import click

from cilia.cli.errors import ClientError
from cilia.cli.grammar import AliasGroup, agent
from cilia.cli.output import emit, table

POLL_S = 0.1


LAZY = {
    "conflicts": "cilia.cli.commands.policy_status:conflicts",
    "list": "cilia.cli.commands.policy_status:list_",
    "stats": "cilia.cli.commands.policy_status:stats",
    "validate": "cilia.cli.commands.policy_validate:validate_",
    "test": "cilia.cli.commands.policy_test:test",
}
"""The engine takes longer to import than a question to the agent."""


@click.group(cls=AliasGroup, lazy=LAZY)
def policy() -> None:
    """Policies: the rules that this node enforces."""


@policy.command("get")
@click.option("-o", "--output", default="table", metavar="FORMAT", help="json, yaml, jsonpath=…")
def get(output: str) -> None:
    """Show the rules in force and their revision."""
    answer = agent().get("/v1/policy")
    rules = json.loads(answer.get("policy") or "[]")
    text = json.dumps(rules, indent=2) + f"\nRevision: {answer.get('revision', 0)}"
    if output not in ("table", "wide"):
        answer = {"revision": answer.get("revision", 0), "policy": rules}
    emit(answer, output, text)


@policy.command("selectors")
@click.option("-v", "--verbose", is_flag=True, help="all labels of the policies")
@click.option("-o", "--output", default="table", metavar="FORMAT", help="json, yaml, jsonpath=…")
def selectors(verbose: bool, output: str) -> None:
    """Show the selectors in use and the identities each selects."""
    entries = agent().get("/v1/policy/selectors") or []
    rows = [
        [
            entry["selector"],
            ", ".join(sorted(entry["labels"] if verbose else policy_names(entry["labels"]))),
            str(entry.get("users", 0)),
            [str(number) for number in sorted(entry.get("identities") or [])] or [""],
        ]
        for entry in entries
    ]
    emit(entries, output, table(("SELECTOR", "LABELS", "USERS", "IDENTITIES"), rows))


def policy_names(labels: list[str]) -> list[str]:
    """The policies that labels are of, as namespace/name.

    >>> policy_names(["k8s:io.cilium.k8s.policy.derived-from=CiliumNetworkPolicy",
    ...               "k8s:io.cilium.k8s.policy.name=p", "k8s:io.cilium.k8s.policy.namespace=a"])
    ['a/p']
    """
    found: list[str] = []
    for label in labels:
        key, _, value = label.partition("=")
        if key.endswith(".policy.name"):
            found.append(value)
        elif key.endswith(".policy.namespace") and found:
            found[-1] = f"{value}/{found[-1]}"
    return found


@policy.command("wait")
@click.argument("revision", type=int)
@click.option("--max-wait-time", "limit_s", default=360, help="give up after this many seconds")
def wait(revision: int, limit_s: int) -> None:
    """Wait until every endpoint enforces REVISION or a later one."""
    deadline = time.monotonic() + limit_s
    while True:
        behind = [
            entry["id"]
            for entry in agent().get("/v1/endpoint")
            if entry["status"]["policy"]["realized"].get("policy-revision", 0) < revision
        ]
        if not behind:
            return
        if time.monotonic() > deadline:
            raise ClientError(
                f"endpoints {behind} do not enforce revision {revision} after {limit_s} s",
                "see `cilia endpoint log ID`",
            )
        time.sleep(POLL_S)
