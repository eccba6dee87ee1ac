from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.controllers.address import (
    NETWORKS,
    NODE_PORTS,
    address_changes,
    free_address,
    wanted_families,
)
from cilia.lab.controllers.cluster import SERVICES, Object

from .simulation import Simulation, service

specs = st.fixed_dictionaries(
    {"type": st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])},
    optional={
        "ipFamilyPolicy": st.sampled_from(["SingleStack", "PreferDualStack", "RequireDualStack"]),
        "ipFamilies": st.sampled_from([["IPv4"], ["IPv6"], ["IPv6", "IPv4"]]),
        "clusterIP": st.just("None"),
    },
)


@given(st.lists(specs, max_size=6))
def test_every_service_gets_what_it_asks_for_and_nobody_shares(wanted: list[Object]) -> None:
    simulation = Simulation()
    for number, spec in enumerate(wanted):
        made = {**spec, "ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]}
        simulation.add(SERVICES, service(f"s{number}", {"app": "web"}, **made))
    simulation.settle(address_changes)
    addresses: list[str] = []
    node_ports: list[int] = []
    for found in simulation.cluster.all(SERVICES):
        spec = found["spec"]
        if spec["type"] == "ExternalName":
            assert "clusterIPs" not in spec
            continue
        families = spec["ipFamilies"]
        assert len(set(families)) == len(families) > 0
        assert len(families) == (1 if spec["ipFamilyPolicy"] == "SingleStack" else 2)
        assert spec["clusterIP"] == spec["clusterIPs"][0]
        if spec["clusterIP"] != "None":
            for family, address in zip(families, spec["clusterIPs"], strict=True):
                assert ip_address(address) in NETWORKS[family]
            addresses += spec["clusterIPs"]
        if spec["type"] != "ClusterIP":
            node_ports += [port["nodePort"] for port in spec["ports"]]
    assert len(set(addresses)) == len(addresses)
    assert len(set(node_ports)) == len(node_ports)
    assert set(node_ports) <= set(NODE_PORTS)


@pytest.mark.parametrize(
    ("spec", "families"),
    [
        ({}, ["IPv4"]),
        ({"ipFamilies": ["IPv6"]}, ["IPv6"]),
        ({"clusterIP": "fd00:96::7"}, ["IPv6"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"]),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, ["IPv6", "IPv4"]),
        ({"clusterIP": "None"}, ["IPv4", "IPv6"]),
        ({"clusterIP": "None", "selector": {"a": "b"}}, ["IPv4"]),
    ],
)
def test_families_follow_the_policy(spec: dict[str, Any], families: list[str]) -> None:
    assert wanted_families(spec) == families


def test_an_address_that_was_asked_for_stays() -> None:
    simulation = Simulation()
    spec = {"type": "ClusterIP", "clusterIP": "10.96.0.10", "ports": [{"port": 53}]}
    simulation.add(SERVICES, service("dns", {"app": "dns"}, **spec))
    simulation.settle(address_changes)
    (found,) = simulation.cluster.all(SERVICES)
    assert found["spec"]["clusterIPs"] == ["10.96.0.10"]


def test_a_taken_address_is_not_given_again() -> None:
    first = free_address("IPv4", "seed", set())
    assert free_address("IPv4", "seed", {first}) != first
