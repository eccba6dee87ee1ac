"""Routes to the other nodes' pods, and this node's CiliumNode object."""

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from typing import Any

from cilia.kernel import rtnetlink
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.rtnetlink import Network
from cilia.model.backoff import Backoff
from cilia.model.errors import CiliaError, KernelError
from cilia.node.network import NodeNetwork
from cilia.runtime.reconciler import Failed, Reconciler
from cilia.state.nodes import Node
from cilia.state.tables import Tables
from cilia.wire.kubernetes import ApiError, KubernetesClient

log = logging.getLogger(__name__)

PATH = "/apis/cilium.io/v2/ciliumnodes"

Route = tuple[Network, str]


def peer_routes(node: Node) -> list[Route]:
    """Returns the routes to another node's pods: network and next hop, by family."""
    routes = []
    for text in node.pod_cidrs:
        network = ipaddress.ip_network(text, strict=False)
        for address in node.addresses:
            if ipaddress.ip_address(address).version == network.version:
                routes.append((network, address))
                break
    return routes


class PeerRoutes:
    """A reconciler's target: the kernel's routes to other nodes' pods.

    Args:
        connection: A socket in the node's namespace.
        network: The node's network.
        own_node: The node that we run on, which needs no route.
        cluster: The cluster's pod networks; routes outside are not ours to remove.
    """

    def __init__(
        self,
        connection: NetlinkSocket,
        network: NodeNetwork,
        own_node: str,
        cluster: Sequence[Network],
    ) -> None:
        self._connection = connection
        self._cluster = cluster
        self._network = network
        self._own_node = own_node
        self._placed: dict[str, list[Route]] = {}

    async def update(self, rows: Sequence[Node]) -> Sequence[Failed]:
        """Adds the routes of nodes, and removes those that they had before."""
        return [failed for row in rows if (failed := self._place(row)) is not None]

    async def delete(self, rows: Sequence[Node]) -> Sequence[Failed]:
        """Removes the routes of nodes."""
        for row in rows:
            self._remove(self._placed.pop(row.name, []))
        return []

    async def prune(self, rows: Sequence[Node]) -> Sequence[Failed]:
        """Adds routes, and removes those through our device that no node explains."""
        failed = await self.update(rows)
        wanted = {network for routes in self._placed.values() for network, _ in routes}
        for row in rtnetlink.routes(self._connection):
            ours = row.device == self._network.ifindex and self._is_ours(row.destination)
            if ours and row.destination not in wanted:
                self._remove([(row.destination, str(row.via))])
        return failed

    def _is_ours(self, destination: Network) -> bool:
        return any(
            destination.version == network.version
            and destination.prefixlen >= network.prefixlen
            and destination.network_address in network
            for network in self._cluster
        )

    def _place(self, row: Node) -> Failed | None:
        if row.name == self._own_node:
            return None
        try:
            routes = peer_routes(row)
            self._connection.commit(
                *[
                    rtnetlink.add_route(
                        network, self._network.ifindex, via=ipaddress.ip_address(via)
                    )
                    for network, via in routes
                ]
            )
        except (KernelError, ValueError) as error:
            return Failed(row.name, f"routes to {row.name}: {error}")
        kept = {network for network, _ in routes}
        self._remove([each for each in self._placed.get(row.name, []) if each[0] not in kept])
        self._placed[row.name] = routes
        return None

    def _remove(self, routes: Sequence[Route]) -> None:
        self._connection.commit(
            *[rtnetlink.delete_route(network, self._network.ifindex) for network, _ in routes]
        )


def cilium_node(
    name: str, network: NodeNetwork, pod_cidrs: Sequence[str], routers: Sequence[str]
) -> dict[str, Any]:
    """Returns this node's CiliumNode object."""
    addresses = [{"type": "InternalIP", "ip": str(ip)} for ip in (network.v4, network.v6) if ip]
    addresses += [{"type": "CiliumInternalIP", "ip": ip} for ip in routers]
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNode",
        "metadata": {"name": name},
        "spec": {"addresses": addresses, "ipam": {"podCIDRs": list(pod_cidrs)}},
    }


class OwnNode:
    """A Service that writes this node's CiliumNode object, for the others to read."""

    name = "own node"

    def __init__(self, client: KubernetesClient, wanted: dict[str, Any]) -> None:
        self._client = client
        self._wanted = wanted

    async def run(self, ready: asyncio.Event) -> None:
        """Tries until it is written; ready at once."""
        ready.set()
        backoff = Backoff()
        while True:
            try:
                await self._put()
                break
            except CiliaError as error:
                log.warning("CiliumNode not written yet", extra={"error": str(error)})
                await asyncio.sleep(backoff.next_s())
        await asyncio.Event().wait()

    async def _put(self) -> None:
        path = f"{PATH}/{self._wanted['metadata']['name']}"
        try:
            await self._client.patch(path, {"spec": self._wanted["spec"]})
        except ApiError as error:
            if not error.is_missing:
                raise
            await self._client.create(PATH, self._wanted)


class Nodes:
    """A Service that keeps the routes to the other nodes."""

    name = "nodes"

    def __init__(self, tables: Tables, routes: PeerRoutes) -> None:
        self.reconciler = Reconciler("routes", tables.nodes, routes)

    async def run(self, ready: asyncio.Event) -> None:
        """Keeps them until cancelled."""
        await self.reconciler.run(ready)
