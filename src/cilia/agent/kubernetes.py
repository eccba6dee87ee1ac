"""An API server as the agent's Cluster."""

import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any

from cilia.agent.cluster import Json
from cilia.agent.definitions import Definitions
from cilia.agent.endpoint_objects import EndpointObjects
from cilia.agent.metrics.counters import Counters
from cilia.agent.policy_events import PolicyEvents
from cilia.agent.policy_objects import PolicyObjects
from cilia.agent.settings import AgentSettings
from cilia.agent.sources import table_sources
from cilia.agent.startup import find_pod_networks
from cilia.identity.store import KubernetesIdentities
from cilia.model.site import NodeSite
from cilia.model.workloads import Workload
from cilia.node import NodeNetwork, PodNetworks
from cilia.node.service import OwnNode, cilium_node
from cilia.runtime.reconciler import Reconciler
from cilia.runtime.services import Service
from cilia.state.nodes import Node
from cilia.state.tables import Tables
from cilia.wire.kubernetes import KubernetesClient


class KubernetesCluster:
    """Objects of an API server to tables, and tables to objects."""

    name = "API server"

    def __init__(
        self, client: KubernetesClient, settings: AgentSettings, counters: Counters
    ) -> None:
        self.server = client.credentials.server
        self.identities = KubernetesIdentities(client)
        self._client = client
        self._settings = settings
        self._definitions = Definitions(client)
        self._counters = counters
        client.observe = counters.note_requests_to(self.server)
        self.first: tuple[Service, ...] = (self._definitions,)

    async def __aenter__(self) -> None:
        await self._client.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def pod_networks(self, site: NodeSite) -> PodNetworks:
        """Returns this node's pod networks, once they are known."""
        return await find_pod_networks(self._client, self._settings, site)

    def sources(self, tables: Tables, own: Node, network: NodeNetwork) -> tuple[Service, ...]:
        """Returns what follows collections, and what keeps our CiliumNode object."""
        node = cilium_node(own.name, network, own.pod_cidrs, own.internal)
        sources = table_sources(self._client, tables, own)
        for each in sources:
            each.observe = self._counters.note_event
        return (*sources, OwnNode(self._client, node))

    def writers(
        self, tables: Tables, own: Node, nodes: Callable[[], Collection[str] | None]
    ) -> tuple[Reconciler[Any], ...]:
        """Returns what writes our tables into objects of the API server."""

        def workload_of(namespace: str, name: str) -> Workload | None:
            pod = tables.pods.get((namespace, name))
            return pod.workload if pod else None

        endpoint_objects = EndpointObjects(self._client, own.addresses[0], workload_of)
        policy_objects = PolicyObjects(self._client, own.name, nodes)
        policy_events = PolicyEvents(self._client, own.name, tables.policies)
        return (
            Reconciler("CiliumEndpoint objects", tables.endpoints, endpoint_objects),
            Reconciler("policy status", tables.policy_enforcements, policy_objects),
            Reconciler("policy events", tables.policy_enforcements, policy_events),
        )

    def status(self) -> Json:
        """Returns whether the API server answers."""
        client = self._client
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(client.changed_at))
        if client.last_error:
            return {"state": "Failure", "msg": f"away since {since}: {client.last_error}"}
        missing = self._definitions.missing
        if missing:
            return {"state": "Warning", "msg": f"definitions not installed: {', '.join(missing)}"}
        return {
            "state": "Ok",
            "msg": self.server,
            "k8s-api-versions": ["cilium.io/v2", "core/v1", "discovery.k8s.io/v1"],
        }
