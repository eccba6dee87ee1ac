"""Two nodes: CIDR rules that match pods and nodes by choice, and nodes selected by label."""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cilia.kernel import netns
from lab.running_lab import RunningLab, traces, wait_for

PORT = 7979
DEATHSTAR = {"matchLabels": {"class": "deathstar"}}


class Choosing(RunningLab):
    """A lab whose agents match nodes and pods by address, and nodes by label."""

    @property
    def environment(self) -> dict[str, str]:
        """The agents take their settings from the environment of `cilia lab up`."""
        chosen = {
            "CILIA_POLICY_CIDR_MATCH_MODE": "nodes,pods",
            "CILIA_ENABLE_NODE_SELECTOR_LABELS": "true",
        }
        return super().environment | chosen

    def pods(self) -> dict[str, Any]:
        return {one["metadata"]["name"]: one for one in self.json("get", "pods")["items"]}

    def deathstar(self) -> tuple[str, str, str]:
        """Address and node of a deathstar, and the other node."""
        found = next(one for name, one in self.pods().items() if name.startswith("deathstar-"))
        node = found["spec"]["nodeName"]
        return found["status"]["podIP"], node, "node-2" if node == "node-1" else "node-1"

    def ship_lands(self, ship: str, address: str) -> bool:
        done = self.kubectl("exec", ship, "--", *landing(address))
        return done.stdout.strip() == "Ship landed"

    def connects(self, ship: str, address: str, port: int) -> bool:
        """Whether a ship gets a connection, answered or not."""
        host = f"[{address}]" if ":" in address else address
        told = ["-o", "/dev/null", "-w", "%{time_connect}", f"http://{host}:{port}/"]
        done = self.kubectl("exec", ship, "--", "curl", "-s", "--max-time", "1", *told)
        return float(done.stdout.strip() or 0) > 0

    def homes(self, node: str) -> list[str]:
        """A node's addresses of both families."""
        items = self.json("get", "nodes")["items"]
        (item,) = (one for one in items if one["metadata"]["name"] == node)
        found = item["status"]["addresses"]
        return [one["address"] for one in found if one["type"] == "InternalIP"]

    def node_lands(self, node: str, address: str) -> bool:
        command = ["ip", "netns", "exec", f"cilia-{self.name}-{node}", *landing(address)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip() == "Ship landed"

    def apply(self, kind: str, spec: dict[str, Any]) -> None:
        group = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "cilium.io/v2"
        document = {"apiVersion": group, "kind": kind, "metadata": {"name": "one"}, "spec": spec}
        done = self.kubectl("apply", "-f", "-", text=json.dumps(document))
        assert done.returncode == 0, done.stderr


def landing(address: str) -> list[str]:
    host = f"[{address}]" if ":" in address else address
    return ["curl", "-s", "--max-time", "1", "-XPOST", f"http://{host}/v1/request-landing"]


@pytest.fixture(scope="module")
def pair(kubectl: str) -> Iterator[Choosing]:
    """A lab of two nodes with the demo in it."""
    running = Choosing(f"a{os.getpid()}", kubectl)
    try:
        for words in (("--nodes", "2"), ("--demo", "starwars")):
            done = running.lab("up", *words)
            assert done.returncode == 0, done.stdout + done.stderr
        yield running
    finally:
        running.lab("down")
        assert traces(running.name) == []


@pytest.fixture
def clean(pair: Choosing) -> Iterator[Choosing]:
    """The lab, without policies and labels of its nodes before and after."""
    address, _, other = pair.deathstar()
    yield pair
    pair.kubectl("delete", "cnp,networkpolicy", "--all")
    pair.kubectl("label", "node", other, "disk-")
    wait_for(
        "all is open again",
        lambda: pair.ship_lands("xwing", address) and pair.ship_lands("tiefighter", address),
    )


def test_an_ip_block_lets_one_pod_in_by_its_address(clean: Choosing) -> None:
    address, _, _ = clean.deathstar()
    xwing = clean.pods()["xwing"]["status"]["podIP"]
    block = {"from": [{"ipBlock": {"cidr": f"{xwing}/32"}}]}
    clean.apply("NetworkPolicy", {"podSelector": DEATHSTAR, "ingress": [block]})
    wait_for("ship stopped", lambda: not clean.ship_lands("tiefighter", address))
    wait_for("ship let in", lambda: clean.ship_lands("xwing", address))


def test_a_deny_by_address_stops_one_pod(clean: Choosing) -> None:
    address, _, _ = clean.deathstar()
    xwing = clean.pods()["xwing"]["status"]["podIP"]
    spec = {
        "endpointSelector": DEATHSTAR,
        "ingress": [{"fromEntities": ["all"]}],
        "ingressDeny": [{"fromCIDR": [f"{xwing}/32"]}],
    }
    clean.apply("CiliumNetworkPolicy", spec)
    wait_for("ship stopped", lambda: not clean.ship_lands("xwing", address))
    assert clean.ship_lands("tiefighter", address)


def test_a_deny_by_address_keeps_a_pod_from_another_in_that_family_alone(clean: Choosing) -> None:
    found = clean.pods()
    deathstar = next(one for name, one in found.items() if name.startswith("deathstar-"))
    v4, v6 = sorted((ip["ip"] for ip in deathstar["status"]["podIPs"]), key=lambda ip: ":" in ip)
    ship = {"matchLabels": {"class": "xwing"}}
    for denied, left in ((f"{v6}/128", v4), (f"{v4}/32", v6)):
        rules = {"egress": [{"toEntities": ["all"]}], "egressDeny": [{"toCIDR": [denied]}]}
        clean.apply("CiliumNetworkPolicy", {"endpointSelector": ship, **rules})
        at = denied.partition("/")[0]
        wait_for("ship kept in", lambda at=at: not clean.connects("xwing", at, 80))
        assert clean.connects("xwing", left, 80)
        assert clean.connects("tiefighter", at, 80)


def test_a_cidr_lets_another_node_in_by_its_address(clean: Choosing) -> None:
    address, _, other = clean.deathstar()
    (item,) = (n for n in clean.json("get", "nodes")["items"] if n["metadata"]["name"] == other)
    home = next(a["address"] for a in item["status"]["addresses"] if a["type"] == "InternalIP")
    spec = {"endpointSelector": DEATHSTAR, "ingress": [{"fromCIDR": ["192.0.2.1/32"]}]}
    clean.apply("CiliumNetworkPolicy", spec)
    wait_for("node stopped", lambda: not clean.node_lands(other, address))
    clean.apply("CiliumNetworkPolicy", spec | {"ingress": [{"fromCIDR": [f"{home}/32"]}]})
    wait_for("node let in", lambda: clean.node_lands(other, address))
    assert not clean.ship_lands("xwing", address)


def test_nodes_are_selected_by_their_labels_as_these_change(clean: Choosing) -> None:
    address, _, other = clean.deathstar()
    rule = {"fromNodes": [{"matchLabels": {"disk": "ssd"}}]}
    clean.apply("CiliumNetworkPolicy", {"endpointSelector": DEATHSTAR, "ingress": [rule]})
    wait_for("node stopped", lambda: not clean.node_lands(other, address))
    clean.kubectl("label", "node", other, "disk=ssd")
    wait_for("node let in", lambda: clean.node_lands(other, address))
    assert not clean.ship_lands("tiefighter", address)
    clean.kubectl("label", "node", other, "disk=hdd", "--overwrite")
    wait_for("node stopped", lambda: not clean.node_lands(other, address))


def test_a_pod_reaches_the_nodes_that_a_rule_selects_by_both_families(clean: Choosing) -> None:
    mine = clean.pods()["xwing"]["spec"]["nodeName"]
    other = "node-2" if mine == "node-1" else "node-1"
    homes = clean.homes(other)
    assert sorted(":" in home for home in homes) == [False, True]
    with contextlib.ExitStack() as stack:
        for home in homes:
            family = socket.AF_INET6 if ":" in home else socket.AF_INET
            place = Path(f"/run/netns/cilia-{clean.name}-{other}")
            one = stack.enter_context(netns.open_socket(place, family, socket.SOCK_STREAM))
            one.bind((home, PORT))
            one.listen()
            assert clean.connects("xwing", home, PORT)
        rule = {"toNodes": [{"matchLabels": {"disk": "ssd"}}]}
        ship = {"matchLabels": {"class": "xwing"}}
        clean.apply("CiliumNetworkPolicy", {"endpointSelector": ship, "egress": [rule]})
        for home in homes:
            wait_for("node out of reach", lambda at=home: not clean.connects("xwing", at, PORT))
        clean.kubectl("label", "node", other, "disk=ssd")
        for home in homes:
            wait_for("node in reach", lambda at=home: clean.connects("xwing", at, PORT))


def test_an_ip_block_of_the_other_family_lets_one_pod_in(clean: Choosing) -> None:
    found = clean.pods()
    deathstar = next(one for name, one in found.items() if name.startswith("deathstar-"))
    v6 = {
        name: next(ip["ip"] for ip in one["status"]["podIPs"] if ":" in ip["ip"])
        for name, one in (("deathstar", deathstar), ("xwing", found["xwing"]))
    }
    assert clean.connects("tiefighter", v6["deathstar"], 80)
    block = {"from": [{"ipBlock": {"cidr": f"{v6['xwing']}/128"}}]}
    clean.apply("NetworkPolicy", {"podSelector": DEATHSTAR, "ingress": [block]})
    wait_for("ship stopped", lambda: not clean.connects("tiefighter", v6["deathstar"], 80))
    wait_for("ship let in", lambda: clean.connects("xwing", v6["deathstar"], 80))
    # The rule is about one family: by the other the same pod stays out.
    assert not clean.ship_lands("xwing", deathstar["status"]["podIP"])
