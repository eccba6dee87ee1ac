"""What must be known before the datapath can be loaded: this node's pod networks."""

import asyncio
import contextlib
import logging

from cilia.agent.objects import NodeItem
from cilia.agent.settings import AgentSettings
from cilia.agent.sources import TableSource
from cilia.model.site import NodeSite
from cilia.node.pools import (
    PodNetworkMemory,
    PodNetworks,
    parse_pod_networks,
    wait_pod_networks,
)
from cilia.state import nodes
from cilia.wire.kubernetes import KubernetesClient
from cilia.wire.unixhttp import Handler, Request, Response, UnixServer, json_response

log = logging.getLogger(__name__)


async def find_pod_networks(
    client: KubernetesClient, settings: AgentSettings, site: NodeSite
) -> PodNetworks:
    """Returns the node's pod networks: as set, as in the last run, or by its Node object.

    While it waits for the API server, the agent's socket says so.
    """
    memory = PodNetworkMemory(site.state / "pod-networks.json")
    texts = settings.pod_cidrs or memory.load()
    if not texts:
        texts = await _ask_api(client, site)
    found = parse_pod_networks(texts, ipv4=settings.enable_ipv4, ipv6=settings.enable_ipv6)
    memory.save(tuple(texts))
    log.info("pod networks", extra={"networks": found.texts})
    return found


async def _ask_api(client: KubernetesClient, site: NodeSite) -> tuple[str, ...]:
    table = nodes.table()
    source = TableSource(
        client,
        "/api/v1/nodes",
        NodeItem,
        table,
        row_of=lambda item: item.row(),
        key_of=lambda item: item.metadata.name,
        field_selector=f"metadata.name={site.name}",
    )
    socket = UnixServer(site.agent_socket, [("GET", "/v1/healthz", _waiting(client, site.name))])
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(source.run(asyncio.Event()), name="own node"),
            group.create_task(socket.run(asyncio.Event()), name="early socket"),
        ]
        texts = await wait_pod_networks(table, site.name)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(tasks)
    return texts


def _waiting(client: KubernetesClient, node: str) -> Handler:
    async def healthz(request: Request) -> Response:
        why = client.last_error or f"node {node} has no spec.podCIDRs"
        return json_response(
            {
                "cilium": {"state": "Failure", "msg": f"waiting for pod networks: {why}"},
                "kubernetes": {"state": "Failure" if client.last_error else "Ok", "msg": why},
            }
        )

    return healthz
