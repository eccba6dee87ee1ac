"""Two nodes: pods of one reach pods of the other, under policy; one relay shows both."""

import json
import os
import threading
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


def statuses(pair: RunningLab) -> dict[str, str]:
    """What `hubble list nodes` says of each node: the relay is found by itself."""
    done = pair.cilia("hubble", "list", "nodes", "-o", "json")
    assert done.returncode == 0, done.stderr
    return {one["name"]: one["state"] for one in json.loads(done.stdout)}


def test_one_relay_shows_the_flows_of_both_nodes_over_mtls(pair: RunningLab) -> None:
    wait_for(
        "the relay has both nodes",
        lambda: statuses(pair) == {"node-1": "NODE_CONNECTED", "node-2": "NODE_CONNECTED"},
    )
    for ship in ("xwing", "tiefighter"):
        (address, *_) = deathstar_away_from(pair, ship)
        land(pair, ship, address)

    def nodes_seen() -> set[str]:
        words = ("hubble", "observe", "--label", "class=deathstar", "--all", "-o", "json")
        answers = [json.loads(line) for line in pair.cilia(*words).stdout.splitlines()]
        return {one["node_name"] for one in answers if "flow" in one}

    wait_for("flows of both", lambda: nodes_seen() == {"default/node-1", "default/node-2"})
    listed = pair.cilia("hubble", "list", "nodes", "-o", "wide").stdout
    assert listed.count("Enabled") == 2, listed


def test_a_dead_observer_is_named_while_a_client_follows_and_taken_back(pair: RunningLab) -> None:
    def told(word: str, count: int) -> bool:
        return sum("node-2" in line and word in line for line in lines) >= count

    with pair.start("hubble", "observe", "--follow", "-o", "json") as client:
        lines: list[str] = []
        assert client.stdout is not None
        reader = threading.Thread(target=lines.extend, args=(client.stdout,), daemon=True)
        reader.start()
        try:
            wait_for("both are told", lambda: told("NODE_CONNECTED", 1))
            assert pair.lab("stop", "node-2/observer").returncode == 0
            wait_for("its end is told", lambda: told("NODE_UNAVAILABLE", 1))
            before = len(lines)
            wait_for("the other node goes on", lambda: "node-1" in "".join(lines[before:]))
            assert pair.lab("start", "node-2/observer").returncode == 0
            wait_for("it is taken back", lambda: told("NODE_CONNECTED", 2))
        finally:
            client.terminate()
            reader.join()
