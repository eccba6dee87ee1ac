"""A relay before observers of the test's own, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc

from cilia.hubble.peers import Peer
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.relay.connection import Dialler, Timing
from cilia.hubble.relay.flows import MergeSettings
from cilia.hubble.relay.pool import NodePool, PeerSource
from cilia.hubble.relay.service import RelayApi, RelayHealth
from cilia.hubble.server.listener import HubbleApi, HubbleSocket
from cilia.hubble.store import FlowStore
from unit.hubble.made_servers import api_of, running, store_of

QUICK = Timing(first_retry_s=0.02, longest_retry_s=0.1, dial_s=5.0, check_every_s=0.2, answer_s=1.0)
MERGING = MergeSettings(sort_buffer_drain_timeout_s=0.1, error_aggregation_window_s=0.1)
PATIENT = MergeSettings(sort_buffer_drain_timeout_s=30.0, error_aggregation_window_s=0.1)
"""For those who look at the order, which a busy machine would spoil else."""
Status = tuple[int, list[str]]


class Node:
    """One observer that can be stopped and started again."""

    def __init__(self, folder: Path, name: str, *times_ns: int, capacity: int = 64) -> None:
        self.name = name
        self.path = folder / f"{name}.sock"
        self.store: FlowStore = store_of(*times_ns, capacity=capacity)
        self.api: HubbleApi = api_of(self.store, self.path, name)
        self._task: asyncio.Task[None] | None = None

    @property
    def peer(self) -> Peer:
        """As the peer service names it."""
        return Peer(self.name, f"unix://{self.path}")

    async def start(self) -> None:
        """Serves."""
        ready = asyncio.Event()
        self._task = asyncio.create_task(HubbleSocket(self.path, self.api.server).run(ready))
        await ready.wait()

    async def stop(self) -> None:
        """Is gone, at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


class Relay:
    """A relay, and what a client asks of it."""

    def __init__(self, pool: NodePool, api: RelayApi, channel: grpc.aio.Channel) -> None:
        self.pool = pool
        self.api = api
        self.channel = channel
        self.stub = ObserverStub(channel)

    async def wait(self, condition: Callable[[NodePool], bool]) -> None:
        """Waits until the nodes are as wanted."""
        while True:
            moved = self.pool.moved
            if condition(self.pool):
                return
            await moved.wait()

    async def flows(self, **fields: object) -> tuple[list[int], list[Status]]:
        """Times of the flows that a request gets, and what it is told of nodes."""
        request = observer_pb2.GetFlowsRequest(**fields)  # type: ignore[arg-type]  # by name
        return sorted_out([one async for one in self.stub.GetFlows(request)])


def sorted_out(
    answers: list[observer_pb2.GetFlowsResponse],
) -> tuple[list[int], list[Status]]:
    """The flows' times in ns, and (state, nodes) of each status."""
    times = [one.flow.time.ToNanoseconds() for one in answers if one.HasField("flow")]
    told = [one.node_status for one in answers if one.HasField("node_status")]
    return times, [(one.state_change, list(one.node_names)) for one in told]


@contextlib.asynccontextmanager
async def relay(
    folder: Path, *nodes: Node, timing: Timing = QUICK, merging: MergeSettings = PATIENT
) -> AsyncIterator[Relay]:
    """A relay that knows these nodes from the first of them; all but that one may be down."""
    nodes[0].api.peers.replace(node.peer for node in nodes)
    pool = NodePool(PeerSource(nodes[0].peer.address), Dialler(None), timing)
    api = RelayApi(pool, merging, "0.1.0", "default/relay")
    path = folder / "relay.sock"
    try:
        async with (
            running(pool, RelayHealth(api), HubbleSocket(path, api.server)),
            grpc.aio.insecure_channel(f"unix://{path}") as channel,
        ):
            yield Relay(pool, api, channel)
    finally:
        for node in nodes:
            await node.stop()
