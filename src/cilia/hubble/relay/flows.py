"""GetFlows over all nodes: each is asked the same, and the answers are merged."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import grpc
import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.relay import relay_pb2
from cilia.hubble.relay.connection import NodeConnection, State, reason
from cilia.hubble.relay.merge import Limits, Merger
from cilia.hubble.relay.pool import NodePool
from cilia.hubble.relay.troubles import Troubles
from cilia.runtime.services import pause

METHOD = "/observer.Observer/GetFlows"
LONGEST_MESSAGE = 500
IMPOSTOR = "speaks for another node; what it said so is left out"
CATCH_UP_S = 10.0
"""How long one that follows may need for what was before."""
REJOIN_S = 2.0
"""When a node is asked again whose stream broke although its connection did not."""
BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""How a stream ends that no node has refused."""
NS = 1_000_000_000

Request = observer_pb2.GetFlowsRequest
Response = observer_pb2.GetFlowsResponse
Metadata = Sequence[tuple[str, Any]]
Write = Callable[[bytes], Awaitable[None]]


class MergeSettings(msgspec.Struct, frozen=True):
    """How flows are merged; the words are those of the relay's settings."""

    sort_buffer_len_max: int = 100
    sort_buffer_drain_timeout_s: float = 1.0
    error_aggregation_window_s: float = 10.0


class MergedFlows:
    """One client's GetFlows.

    Args:
        request: As the client sent it; the nodes get these bytes.
        metadata: As the client sent it.
        pool: The nodes.
        settings: How flows are merged.
        node: The relay's own name, on what it says itself.
    """

    def __init__(
        self,
        request: bytes,
        metadata: Metadata,
        pool: NodePool,
        settings: MergeSettings,
        node: str,
    ) -> None:
        self._request = request
        self._wanted = Request.FromString(request)
        self._metadata = metadata
        self._pool = pool
        self._node = node
        limits = Limits(
            max(1, settings.sort_buffer_len_max),
            settings.sort_buffer_drain_timeout_s,
            catch_up_s(self._wanted),
        )
        self._merger = Merger(limits, time.monotonic())
        self._troubles = Troubles(settings.error_aggregation_window_s)
        self._events: list[bytes] = []
        self._joined: dict[str, int] = {}
        self._down: set[str] = set()
        self._lost: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._impostors: set[str] = set()
        self._streams: dict[str, int] = {}
        """The serial of the latest stream of each node; older ones have nothing to say."""
        self._serial = 0
        self._reading = 0
        self._news = asyncio.Event()
        self._held: dict[str, asyncio.Event] = {}

    async def write_to(self, write: Write) -> None:
        """Writes answers until there are no more; with `follow`, for ever."""
        async with asyncio.TaskGroup() as group:
            self._join_all(group)
            watcher = group.create_task(self._watch_nodes(group))
            try:
                while True:
                    now = time.monotonic()
                    done = not self._reading and not self._wanted.follow
                    for message in (*self._told(now, is_last=done), *self._merger.take(now)):
                        await write(message)
                    if done and not len(self._merger):
                        break
                    self._free()
                    await self._wait()
            finally:
                watcher.cancel()

    def _free(self) -> None:
        """Lets those be read on that have room by now."""
        for name in [one for one in self._held if self._merger.has_room(one)]:
            self._held.pop(name).set()

    async def _wait(self) -> None:
        """Waits for news, or until what waits may go."""
        now = time.monotonic()
        dues = [one for one in (self._merger.due(now), self._troubles.due(now)) if one is not None]
        if not self._news.is_set():
            try:
                async with asyncio.timeout(min(dues) if dues else None):
                    await self._news.wait()
            except TimeoutError:
                return
        self._news.clear()

    def _told(self, now: float, *, is_last: bool) -> Iterable[bytes]:
        """What the relay says itself."""
        for message, nodes in self._troubles.take(now, all_of_them=is_last):
            self._tell(relay_pb2.NODE_ERROR, nodes, message)
        events, self._events = self._events, []
        return events

    def _tell(
        self, state: "relay_pb2.NodeState.ValueType", nodes: Sequence[str], message: str = ""
    ) -> None:
        if not nodes:
            return
        event = relay_pb2.NodeStatusEvent(state_change=state, node_names=nodes, message=message)
        now = time.time_ns()
        told = Response(
            node_status=event,
            node_name=self._node,
            time=Timestamp(seconds=now // NS, nanos=now % NS),
        )
        self._events.append(told.SerializeToString())
        self._news.set()

    # The nodes

    def _join_all(self, group: asyncio.TaskGroup) -> None:
        """Joins the nodes there are, and names those that cannot be joined."""
        connected = self._pool.connected
        self._tell(relay_pb2.NODE_CONNECTED, [one.peer.name for one in connected])
        self._down = {one.peer.name for one in self._pool.unavailable}
        self._tell(relay_pb2.NODE_UNAVAILABLE, sorted(self._down))
        for node in connected:
            self._join(node, group, self._request)

    async def _watch_nodes(self, group: asyncio.TaskGroup) -> None:
        """With `follow`, joins the nodes that come, and tells of those that go."""
        while self._wanted.follow:
            moved = self._pool.moved
            self._look_again(group)
            await pause(moved, REJOIN_S)

    def _look_again(self, group: asyncio.TaskGroup) -> None:
        """Says which nodes have come, gone or died since the last look."""
        nodes = self._pool.nodes
        gone = sorted((self._joined.keys() | self._down) - nodes.keys())
        self._tell(relay_pb2.NODE_GONE, gone)
        for name in gone:
            self._joined.pop(name, None)
            self._down.discard(name)
        back = [
            one
            for one in self._pool.connected
            if self._joined.get(one.peer.name) != one.generation or self._is_due(one.peer.name)
        ]
        self._tell(relay_pb2.NODE_CONNECTED, [one.peer.name for one in back])
        for node in back:
            self._down.discard(node.peer.name)
            self._join(node, group, self._resumed(node.peer.name))
        for node in self._pool.unavailable:
            self._report_down(node)

    def _is_due(self, name: str) -> bool:
        """Whether its stream broke some time ago."""
        return time.monotonic() - self._lost.get(name, math.inf) >= REJOIN_S

    def _report_down(self, node: NodeConnection) -> None:
        name = node.peer.name
        if node.state is State.UNAVAILABLE and name not in self._down:
            self._down.add(name)
            self._tell(relay_pb2.NODE_UNAVAILABLE, [name], node.problem[:LONGEST_MESSAGE])

    def _resumed(self, name: str) -> bytes:
        """The request for a node that comes later: what it has not told yet."""
        if name not in self._seen:
            return self._request
        wanted = Request()
        wanted.CopyFrom(self._wanted)
        since = self._seen[name] + 1
        wanted.since.seconds, wanted.since.nanos = divmod(since, NS)
        wanted.number = 0
        return wanted.SerializeToString()

    def _join(self, node: NodeConnection, group: asyncio.TaskGroup, request: bytes) -> None:
        name = node.peer.name
        if node.channel is None:
            return
        self._joined[name] = node.generation
        self._lost.pop(name, None)
        self._reading += 1
        self._serial += 1
        self._streams[name] = self._serial
        self._merger.join(name, time.monotonic())
        group.create_task(self._read(name, self._serial, node.channel, request), name=name)

    async def _read(
        self, name: str, serial: int, channel: grpc.aio.Channel, request: bytes
    ) -> None:
        """Reads one node's stream to its end."""
        ask: Any = channel.unary_stream(METHOD)  # bytes in, bytes out
        call = ask(request, metadata=self._metadata)
        try:
            async for message in call:
                if not self._merger.has_room(name):
                    await self._held.setdefault(name, asyncio.Event()).wait()
                if self._streams[name] != serial:
                    return
                self._take(name, message)
        except grpc.aio.AioRpcError as error:
            if self._streams[name] == serial:
                self._fail(name, error)
        except DecodeError as error:
            self._trouble(name, f"answer not understood: {error}")
        except asyncio.CancelledError:
            if is_own_cancellation():
                raise
            if self._streams[name] == serial:
                self._lose(name, "the connection was closed")
        finally:
            call.cancel()
            self._reading -= 1
            if self._streams[name] == serial:
                self._merger.leave(name)
            self._news.set()

    def _take(self, name: str, message: bytes) -> None:
        answer = Response.FromString(message)
        if not speaks_for_itself(name, answer):
            self._reject(name)
            return
        time_ = answer.time
        when = int(time_.seconds * NS + time_.nanos)
        if answer.HasField("flow"):  # a loss has the time at which it was found out
            self._seen[name] = max(when, self._seen.get(name, 0))
        if self._merger.add(name, when, message, time.monotonic()):
            self._news.set()

    def _reject(self, name: str) -> None:
        """Names a node that says what it has no business to say, once a client."""
        if name not in self._impostors:
            self._impostors.add(name)
            self._trouble(name, IMPOSTOR)

    def _fail(self, name: str, error: grpc.aio.AioRpcError) -> None:
        if error.code() in BROKEN:
            self._lose(name, reason(error))
        else:
            self._trouble(name, reason(error))

    def _lose(self, name: str, message: str) -> None:
        self._lost[name] = time.monotonic()
        if name not in self._down and name in self._joined:
            self._down.add(name)
            self._tell(relay_pb2.NODE_UNAVAILABLE, [name], message[:LONGEST_MESSAGE])

    def _trouble(self, name: str, message: str) -> None:
        message = message[:LONGEST_MESSAGE]
        if self._troubles.add(name, message, time.monotonic()):
            self._tell(relay_pb2.NODE_ERROR, [name], message)


def speaks_for_itself(peer: str, answer: Response) -> bool:
    """Whether a node says only what it may: of itself, and nothing of how nodes are.

    Args:
        peer: The name of the node by the peer service.
        answer: Names may be missing, for a field mask may leave them out.

    >>> speaks_for_itself("a", Response(node_name="default/a"))
    True
    >>> speaks_for_itself("a", Response(node_name="default/b"))
    False
    """
    if answer.HasField("node_status"):
        return False
    told = {answer.node_name, answer.flow.node_name} - {""}
    return all(one == peer or _full_name(one) == _full_name(peer) for one in told)


def _full_name(name: str) -> str:
    """With its cluster, which peers leave out where it is `default`."""
    return name if "/" in name else f"default/{name}"


def catch_up_s(wanted: Request) -> float:
    """For how long the answers are of the past.

    >>> catch_up_s(Request(follow=True)), catch_up_s(Request(follow=True, number=20))
    (0.0, 10.0)
    """
    if not wanted.follow:
        return math.inf
    return CATCH_UP_S if wanted.number or wanted.HasField("since") else 0.0


def is_own_cancellation() -> bool:
    """Whether this task was cancelled, and not only the call that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
