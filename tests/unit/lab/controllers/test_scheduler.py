from typing import Any

import pytest

from cilia.lab.controllers.cluster import NODES, PODS, Object
from cilia.lab.controllers.node import node_changes, pod_networks
from cilia.lab.controllers.scheduler import misfit, scheduling_changes
from cilia.lab.controllers.selector import selects

from .simulation import NOW, Simulation, pod


def node(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def schedule(simulation: Simulation) -> list[str | None]:
    simulation.settle(lambda cluster: scheduling_changes(cluster, NOW))
    return [one["spec"].get("nodeName") for one in simulation.cluster.all(PODS)]


def test_pods_are_spread_over_the_nodes() -> None:
    simulation = Simulation()
    for name in ("node-1", "node-2"):
        simulation.add(NODES, node(name))
    for number in range(5):
        simulation.add(PODS, pod(f"pod-{number}", {}))
    assert sorted(map(str, schedule(simulation))) == ["node-1"] * 3 + ["node-2"] * 2


def test_a_pod_that_fits_nowhere_says_why() -> None:
    simulation = Simulation()
    simulation.add(NODES, node("node-1"))
    simulation.add(NODES, node("node-2", unschedulable=True))
    simulation.add(PODS, pod("lost", {}, nodeSelector={"disk": "ssd"}))
    assert schedule(simulation) == [None]
    (found,) = simulation.cluster.all(PODS)
    (condition,) = found["status"]["conditions"]
    assert condition["reason"] == "Unschedulable"
    assert condition["message"] == (
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) were unschedulable."
    )


TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def affinity(**requirement: Any) -> dict[str, Any]:
    terms = [{"matchExpressions": [requirement]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": required}}


@pytest.mark.parametrize(
    ("spec", "where", "fits"),
    [
        ({}, node("n"), True),
        ({}, node("n", taints=[TAINT]), False),
        ({"tolerations": [{"key": "gpu", "operator": "Exists"}]}, node("n", taints=[TAINT]), True),
        ({"tolerations": [{"key": "gpu", "value": "yes"}]}, node("n", taints=[TAINT]), True),
        ({"tolerations": [{"key": "gpu", "value": "no"}]}, node("n", taints=[TAINT]), False),
        ({"tolerations": [{"operator": "Exists"}]}, node("n", taints=[TAINT]), True),
        (affinity(key="zone", operator="In", values=["a"]), node("n", {"zone": "a"}), True),
        (affinity(key="zone", operator="NotIn", values=["a"]), node("n", {"zone": "a"}), False),
        (affinity(key="zone", operator="Exists"), node("n"), False),
    ],
)
def test_what_a_pod_asks_of_a_node(spec: dict[str, Any], where: Object, fits: bool) -> None:
    assert (misfit(pod("p", {}, **spec), where) is None) is fits


def test_each_node_gets_a_share_of_the_pod_network() -> None:
    simulation = Simulation()
    simulation.add(NODES, node("node-1"))
    simulation.add(NODES, node("node-2", podCIDRs=pod_networks(1)))
    simulation.settle(node_changes)
    found = [one["spec"]["podCIDRs"] for one in simulation.cluster.all(NODES)]
    assert found == [pod_networks(2), pod_networks(1)]


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        (None, {}, False),
        ({}, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "c"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {}, True),
        (
            {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["5"]}]},
            {"a": "10"},
            True,
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "Lt", "values": ["5"]}]},
            {"a": "x"},
            False,
        ),
    ],
)
def test_selectors(selector: dict[str, Any] | None, labels: dict[str, str], matches: bool) -> None:
    assert selects(selector, labels) is matches
