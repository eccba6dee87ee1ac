"""observer.Observer of a relay: all nodes as one."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.proto.relay import relay_pb2
from cilia.hubble.relay.connection import NodeConnection, State
from cilia.hubble.relay.flows import MergedFlows, MergeSettings, Metadata, is_own_cancellation
from cilia.hubble.relay.pool import NodePool
from cilia.hubble.server.listener import BRIEF, HEALTHY, Options, new_server
from cilia.hubble.server.version import VersionHeader

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any

NAMED = 10
"""How many unavailable nodes ServerStatus names."""
MOST_READERS = 100
"""Clients that read flows at once: each is one of the calls that a node takes on a connection."""
ANSWER_S = 5.0
SERVICE = observer_pb2.DESCRIPTOR.services_by_name["Observer"].full_name
OWN = ("user-agent", "content-type", "te", "accept-encoding")
"""Metadata that belongs to one connection."""


class RelayApi:
    """Everything that a relay answers, wherever it listens.

    Args:
        pool: The nodes.
        settings: How flows are merged.
        version: Of this program.
        node: Where the relay runs, on what it says itself.
    """

    def __init__(self, pool: NodePool, settings: MergeSettings, version: str, node: str) -> None:
        self._pool = pool
        self._settings = settings
        self._version = version
        self._node = node
        self._reading = 0
        self._health = health.aio.HealthServicer()

    async def server(self) -> grpc.aio.Server:
        """A server with all services; it has no port yet."""
        server = self._server_with_health()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, self._handlers()),)
        )
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

    async def health_server(self) -> grpc.aio.Server:
        """A server for probes: it tells its health, and nothing else."""
        return self._server_with_health(BRIEF)

    def _server_with_health(self, options: Options = ()) -> grpc.aio.Server:
        version = VersionHeader("hubble-relay-version", self._version)
        server = new_server(version, options=options)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return server

    def _handlers(self) -> dict[str, Handler]:
        """By method. The events of agents and datapaths are asked of their nodes."""
        return {
            # As bytes on both sides: what a node says is not decoded to be encoded again.
            "GetFlows": grpc.unary_stream_rpc_method_handler(self.get_flows),
            "ServerStatus": _unary(
                self.server_status,
                observer_pb2.ServerStatusRequest,
                observer_pb2.ServerStatusResponse,
            ),
            "GetNodes": _unary(
                self.get_nodes, observer_pb2.GetNodesRequest, observer_pb2.GetNodesResponse
            ),
            "GetNamespaces": _unary(
                self.get_namespaces,
                observer_pb2.GetNamespacesRequest,
                observer_pb2.GetNamespacesResponse,
            ),
        }

    async def tell_health(self) -> None:
        """Keeps the health true until cancelled."""
        while True:
            moved = self._pool.moved
            is_serving = self._pool.has_source and bool(self._pool.connected)
            status = health_pb2.HealthCheckResponse
            for name in HEALTHY:
                await self._health.set(name, status.SERVING if is_serving else status.NOT_SERVING)
            await moved.wait()

    async def get_flows(self, request: bytes, context: Context) -> None:
        """Flows of all nodes, merged by time."""
        if self._reading >= MOST_READERS:
            text = f"{MOST_READERS} clients read flows here already; try again, or ask a node"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        self._reading += 1
        try:
            flows = MergedFlows(request, passed_on(context), self._pool, self._settings, self._node)
            await flows.write_to(context.write)
        except DecodeError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"request: {error}")
        finally:
            self._reading -= 1

    async def server_status(
        self, request: observer_pb2.ServerStatusRequest, context: Context
    ) -> observer_pb2.ServerStatusResponse:
        """The sum over the nodes, and who is missing from it."""
        answers = await self._ask_all("ServerStatus", request, passed_on(context))
        missing = [name for name, answer in answers if answer is None]
        found = [answer for _, answer in answers if answer is not None]
        status = observer_pb2.ServerStatusResponse(
            num_flows=sum(one.num_flows for one in found),
            max_flows=sum(one.max_flows for one in found),
            seen_flows=sum(one.seen_flows for one in found),
            uptime_ns=max((one.uptime_ns for one in found), default=0),
            flows_rate=sum(one.flows_rate for one in found),
            unavailable_nodes=missing[:NAMED],
            version=f"hubble-relay v{self._version}",
        )
        status.num_connected_nodes.value = len(found)
        status.num_unavailable_nodes.value = len(missing)
        return status

    async def get_nodes(
        self, request: observer_pb2.GetNodesRequest, context: Context
    ) -> observer_pb2.GetNodesResponse:
        """Every node, with what it says of itself."""
        asked = observer_pb2.ServerStatusRequest()
        answers = dict(await self._ask_all("ServerStatus", asked, passed_on(context)))
        nodes = [
            self._node_of(one, answers.get(name)) for name, one in sorted(self._pool.nodes.items())
        ]
        return observer_pb2.GetNodesResponse(nodes=nodes)

    def _node_of(self, node: NodeConnection, answer: Any) -> observer_pb2.Node:
        peer = node.peer
        told = observer_pb2.Node(
            name=peer.name, address=peer.address, state=relay_pb2.NODE_UNAVAILABLE
        )
        is_local = peer.address.startswith("unix:")
        if self._pool.dialler.speaks_tls and not is_local:
            told.tls.CopyFrom(observer_pb2.TLS(enabled=True, server_name=peer.server_name))
        if answer is not None:
            told.state = relay_pb2.NODE_CONNECTED
            told.version = answer.version
            told.uptime_ns = answer.uptime_ns
            told.num_flows = answer.num_flows
            told.max_flows = answer.max_flows
            told.seen_flows = answer.seen_flows
        elif node.state is State.CONNECTED:
            told.state = relay_pb2.NODE_ERROR
        return told

    async def get_namespaces(
        self, request: observer_pb2.GetNamespacesRequest, context: Context
    ) -> observer_pb2.GetNamespacesResponse:
        """The namespaces of all nodes, each once."""
        answers = await self._ask_all("GetNamespaces", request, passed_on(context))
        pairs = {
            (one.cluster, one.namespace)
            for _, answer in answers
            if answer is not None
            for one in answer.namespaces
        }
        found = [observer_pb2.Namespace(cluster=one, namespace=name) for one, name in sorted(pairs)]
        return observer_pb2.GetNamespacesResponse(namespaces=found)

    async def _ask_all(
        self, method: str, request: Any, metadata: Metadata
    ) -> Sequence[tuple[str, Any]]:
        """Every node's answer by name, in order; None where there is none in time."""

        async def ask(node: NodeConnection) -> tuple[str, Any]:
            if node.channel is None:
                return node.peer.name, None
            call = getattr(ObserverStub(node.channel), method)
            try:
                return node.peer.name, await call(request, timeout=ANSWER_S, metadata=metadata)
            except (grpc.RpcError, asyncio.CancelledError):
                if is_own_cancellation():
                    raise
                return node.peer.name, None

        nodes = self._pool.nodes
        return await asyncio.gather(*(ask(nodes[name]) for name in sorted(nodes)))


def passed_on(context: Context) -> Metadata:
    """What a client sent besides the request, and means for the nodes."""
    return [
        (key, value)
        for key, value in context.invocation_metadata() or ()
        if key not in OWN and not key.startswith((":", "grpc-"))
    ]


def _unary(method: Any, request: Any, response: Any) -> Handler:
    return grpc.unary_unary_rpc_method_handler(
        method,
        request_deserializer=request.FromString,
        response_serializer=response.SerializeToString,
    )


class RelayHealth:
    """A Service that keeps a relay's health true.

    Args:
        api: The relay.
    """

    name = "health"

    def __init__(self, api: RelayApi) -> None:
        self._api = api

    async def run(self, ready: asyncio.Event) -> None:
        """Tells the health until cancelled."""
        ready.set()
        await self._api.tell_health()
