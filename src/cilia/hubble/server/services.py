"""observer.Observer and peer.Peer of one node."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import numpy as np

from cilia.hubble.filters import InvalidFilterError, Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.parties import SIDES
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverServicer
from cilia.hubble.proto.peer import peer_pb2
from cilia.hubble.proto.peer.peer_pb2_grpc import PeerServicer
from cilia.hubble.proto.relay import relay_pb2
from cilia.hubble.server.getflows import FlowStream, InvalidRequestError
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
        address: Where this server listens.
    """

    def __init__(self, scene: Scene, maker: FlowMaker, version: str, address: str) -> None:
        self._scene = scene
        self._store = scene.store
        self._maker = maker
        self._version = version
        self._address = address
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
            async for response in stream.responses():
                yield response

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
        node = observer_pb2.Node(
            name=self._scene.node,
            version=self._version,
            address=self._address,
            state=relay_pb2.NODE_CONNECTED,
            uptime_ns=time.monotonic_ns() - self._started,
            num_flows=len(self._store),
            max_flows=self._store.capacity,
            seen_flows=self._store.total,
        )
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
        """Refused: the agent reports none yet."""
        await _refuse(context, "the agent reports no events")
        yield observer_pb2.GetAgentEventsResponse()

    async def GetDebugEvents(
        self, request: observer_pb2.GetDebugEventsRequest, context: Context
    ) -> AsyncIterator[observer_pb2.GetDebugEventsResponse]:
        """Refused: the datapath has no debugging messages."""
        await _refuse(context, "the datapath has no debug events")
        yield observer_pb2.GetDebugEventsResponse()


class PeerService(PeerServicer):
    """The observers of the cluster, as far as this one knows: itself.

    Args:
        node: `<cluster>/<node>`.
        address: Where it listens.
    """

    def __init__(self, node: str, address: str) -> None:
        self._name = node.removeprefix("default/")
        self._address = address

    async def Notify(
        self, request: peer_pb2.NotifyRequest, context: Context
    ) -> AsyncIterator[peer_pb2.ChangeNotification]:
        """Every peer once, then what changes; never ends."""
        yield peer_pb2.ChangeNotification(
            name=self._name, address=self._address, type=peer_pb2.PEER_ADDED
        )
        await asyncio.Event().wait()


async def _refuse(context: Context, why: str) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, why)


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
