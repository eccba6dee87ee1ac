"""Two nodes: pods of one reach pods of the other, under policy, over both families."""

import os
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from lab.running_lab import RunningLab, traces, wait_for

POLICY = resources.files("cilia.lab") / "demo" / "starwars-policy.yaml"


@pytest.fixture(scope="module")
def pair(kubectl: str) -> Iterator[RunningLab]:
    """A lab of two nodes with the demo spread over them."""
    running = RunningLab(f"p{os.getpid()}", kubectl)
    try:
        # The demo comes when both nodes take pods, else one may get all of them.
        for words in (("--nodes", "2"), ("--demo", "starwars")):
            done = running.lab("up", *words)
            assert done.returncode == 0, done.stdout + done.stderr
        yield running
    finally:
        running.lab("down")
        assert traces(running.name) == []


def pods(pair: RunningLab) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for one in pair.json("get", "pods")["items"]}


def deathstar_away_from(pair: RunningLab, ship: str) -> list[str]:
    """Addresses of the deathstar that is not on the ship's node."""
    found = pods(pair)
    node = found[ship]["spec"]["nodeName"]
    (other,) = (
        one
        for name, one in found.items()
        if name.startswith("deathstar-") and one["spec"]["nodeName"] != node
    )
    return [entry["ip"] for entry in other["status"]["podIPs"]]


def land(pair: RunningLab, ship: str, address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}/v1/request-landing"
    words = ("curl", "-sg", "--max-time", "3", "-XPOST", url)
    return pair.kubectl("exec", ship, "--", *words).stdout.strip()


@pytest.mark.parametrize("ship", ["xwing", "tiefighter"])
def test_pods_reach_pods_of_the_other_node(pair: RunningLab, ship: str) -> None:
    for address in deathstar_away_from(pair, ship):
        assert land(pair, ship, address) == "Ship landed", (ship, address)


def test_policy_knows_pods_of_the_other_node(pair: RunningLab) -> None:
    applied = pair.kubectl("apply", "-f", str(POLICY))
    assert applied.returncode == 0, applied.stderr
    try:
        for address in deathstar_away_from(pair, "xwing"):
            wait_for("xwing is kept out", lambda at=address: land(pair, "xwing", at) == "")
        for address in deathstar_away_from(pair, "tiefighter"):
            assert land(pair, "tiefighter", address) == "Ship landed"
    finally:
        pair.kubectl("delete", "-f", str(POLICY))


def test_both_nodes_say_how_far_a_policy_is_enforced(pair: RunningLab) -> None:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = pair.json("get", "cnp", "rule1").get("status") or {}
        return found

    applied = pair.kubectl("apply", "-f", str(POLICY))
    assert applied.returncode == 0, applied.stderr
    try:
        wait_for("both deathstars enforce it", lambda: status().get("enforced") == "2/2")
        parts = status()["nodes"]
        assert {part["enforced"] for part in parts.values()} == {1}
        nodes = {one["spec"]["nodeName"] for name, one in pods(pair).items() if "death" in name}
        assert set(parts) == nodes
    finally:
        pair.kubectl("delete", "-f", str(POLICY))


def test_a_lab_keeps_its_number_of_nodes(pair: RunningLab) -> None:
    refused = pair.lab("up", "--nodes", "3")
    assert refused.returncode == 1
    assert "runs with 2 nodes, not 3" in refused.stderr
