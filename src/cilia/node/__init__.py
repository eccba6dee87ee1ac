"""This node and the others: devices, addresses, routes.

network.py   what the node's network is (found) and must be (a plan of requests)
pools.py     the node's pod networks: from settings, the last run, or its Node object
service.py   routes to the other nodes' pods; our CiliumNode object
"""

from cilia.node.network import NodeNetwork, find_network, set_up_network
from cilia.node.pools import PodNetworks
from cilia.node.service import Nodes

__all__ = ["NodeNetwork", "Nodes", "PodNetworks", "find_network", "set_up_network"]
