"""Routes to other nodes: over the family of the network, and our object."""

import ipaddress

from cilia.node.service import peer_routes
from cilia.state.nodes import Node


def test_a_network_is_reached_through_the_nodes_address_of_its_family() -> None:
    node = Node(
        "n2",
        ("172.30.0.12", "fd00:30::12", "192.168.7.7"),
        ("10.0.2.0/24", "fd00:10:0:2::/64"),
    )
    assert peer_routes(node) == [
        (ipaddress.ip_network("10.0.2.0/24"), "172.30.0.12"),
        (ipaddress.ip_network("fd00:10:0:2::/64"), "fd00:30::12"),
    ]


def test_a_node_without_an_address_of_a_family_gets_no_route_there() -> None:
    assert peer_routes(Node("n2", ("172.30.0.12",), ("fd00:10:0:2::/64",))) == []
