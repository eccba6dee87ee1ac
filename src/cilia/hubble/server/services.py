"""observer.Observer and peer.Peer of one node."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import grpc
import numpy as np

from cilia.hubble.filters import InvalidFilterError, Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.parties import SIDES
from cilia.hubble.peers import Peer, Peers, changes
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverServicer
from cilia.hubble.proto.peer import peer_pb2
from cilia.hubble.proto.peer.peer_pb2_grpc import PeerServicer
from cilia.hubble.proto.relay import relay_pb2
from cilia.hubble.server.agent_events import AgentEventStream, AgentHistory
from cilia.hubble.server.getflows import FlowStream
from cilia.hubble.server.limits import InvalidRequestError
from cilia.hubble.store import FlowStore, Rows

Context = grpc.aio.ServicerContext[Any, Any]

MINUTE_NS = 60 * 1_000_000_000
HOUR_NS = 60 * MINUTE_NS


class ObserverService(ObserverServicer):
    """The flows of this node.

    Args:
        scene: Where they are.
        maker: Turns rows into flows.
        version: As ServerStatus says it: `cilia v0.1.0`.
        peers: Who is there, this node among them.
        events: What the agent did.
    """

    def __init__(
        self, scene: Scene, maker: FlowMaker, version: str, peers: Peers, events: AgentHistory
    ) -> None:
        self._scene = scene
        self._store = scene.store
        self._maker = maker
        self._version = version
        self._peers = peers
        self._events = events
        self._started = time.monotonic_ns()

    async def GetFlows(
        self, request: observer_pb2.GetFlowsRequest, context: Context
    ) -> AsyncIterator[observer_pb2.GetFlowsResponse]:
        """Flows, oldest first."""
        try:
            stream = FlowStream(request, self._scene, self._maker)
        except InvalidRequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except InvalidFilterError as error:  # the stock server has no code of its own for it
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        else:
            try:
                async for response in stream.responses():
                    yield response
            except InvalidFilterError as error:  # an expression may prove too dear
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))

    async def ServerStatus(
        self, request: observer_pb2.ServerStatusRequest, context: Context
    ) -> observer_pb2.ServerStatusResponse:
        """How much is here and how much was seen."""
        return observer_pb2.ServerStatusResponse(
            num_flows=len(self._store),
            max_flows=self._store.capacity,
            seen_flows=self._store.total,
            uptime_ns=time.monotonic_ns() - self._started,
            version=self._version,
            flows_rate=flows_rate(self._store, time.time_ns()),
        )

    async def GetNodes(
        self, request: observer_pb2.GetNodesRequest, context: Context
    ) -> observer_pb2.GetNodesResponse:
        """This node: what a screen that asks no relay wants to know."""
        own = self._peers.own
        node = observer_pb2.Node(
            name=self._scene.node,
            version=self._version,
            address=own.address,
            state=relay_pb2.NODE_CONNECTED,
            uptime_ns=time.monotonic_ns() - self._started,
            num_flows=len(self._store),
            max_flows=self._store.capacity,
            seen_flows=self._store.total,
        )
        if own.server_name:
            node.tls.CopyFrom(observer_pb2.TLS(enabled=True, server_name=own.server_name))
        return observer_pb2.GetNodesResponse(nodes=[node])

    async def GetNamespaces(
        self, request: observer_pb2.GetNamespacesRequest, context: Context
    ) -> observer_pb2.GetNamespacesResponse:
        """The namespaces of the last hour's flows, sorted."""
        cluster = self._scene.node.partition("/")[0]
        found = namespaces(self._store, time.time_ns() - HOUR_NS)
        return observer_pb2.GetNamespacesResponse(
            namespaces=[observer_pb2.Namespace(cluster=cluster, namespace=name) for name in found]
        )

    async def GetAgentEvents(
        self, request: observer_pb2.GetAgentEventsRequest, context: Context
    ) -> AsyncIterator[observer_pb2.GetAgentEventsResponse]:
        """What the agent did, oldest first."""
        try:
            stream = AgentEventStream(request, self._events, self._scene.node)
        except InvalidRequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        else:
            async for response in stream.responses():
                yield response

    async def GetDebugEvents(
        self, request: observer_pb2.GetDebugEventsRequest, context: Context
    ) -> AsyncIterator[observer_pb2.GetDebugEventsResponse]:
        """Nothing: the datapath writes no debug records. With `follow`, it goes on waiting."""
        if request.first and request.follow:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "first and follow")
        found: list[observer_pb2.GetDebugEventsResponse] = []
        for response in found:
            yield response
        if request.follow:
            await asyncio.Event().wait()


class PeerService(PeerServicer):
    """The observers of the cluster.

    Args:
        peers: Who they are.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def Notify(
        self, request: peer_pb2.NotifyRequest, context: Context
    ) -> AsyncIterator[peer_pb2.ChangeNotification]:
        """Every peer once, then what changes; never ends."""
        told: Mapping[str, Peer] = {}
        while True:
            now = self._peers.now
            for change in changes(told, now):
                yield change
            told = now
            await self._peers.wait_other(told)


def flows_rate(store: FlowStore, now_ns: int) -> float:
    """Flows a second over the last minute, or over what is here if that is less."""
    recent = [rows["time"][rows["time"] >= now_ns - MINUTE_NS] for rows in _all(store)]
    times = np.concatenate(recent) if recent else np.empty(0, "i8")
    if not len(times):
        return 0.0
    covers_all = store.oldest == 0 or len(times) < len(store)
    span = MINUTE_NS if covers_all else max(1, now_ns - int(times.min()))
    return len(times) * 1e9 / span


def namespaces(store: FlowStore, since_ns: int) -> list[str]:
    """The namespaces of the parties of all flows since then, sorted."""
    numbers: set[int] = set()
    for rows in _all(store):
        recent = rows["time"] >= since_ns
        for side in SIDES:
            numbers.update(np.flatnonzero(np.bincount(rows[f"{side}_party"][recent])).tolist())
    found = {store.parties.rows[number].namespace for number in numbers}
    return sorted(found - {""})


def _all(store: FlowStore) -> Iterator[Rows]:
    return store.pieces(store.oldest, store.shown)
