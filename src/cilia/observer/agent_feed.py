"""What the agent streams: its events, and the cluster's nodes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.server.agent_events import AgentHistory
from cilia.wire.http10 import encode_request

log = logging.getLogger(__name__)

Json = Any

RETRY_S = 1.0
LONGEST_LINE = 16 << 20


async def follow(socket: Path, path: str, query: dict[str, str]) -> AsyncIterator[Json]:
    """The lines of a streaming GET on a unix socket; ends when the agent ends it.

    Raises:
        OSError: The agent is not there.
        ValueError: It answers something else.
    """
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=LONGEST_LINE)
    try:
        writer.write(encode_request("GET", path, query, None))
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(None, 2)[1:2] != [b"200"]:
            raise ValueError(f"GET {path}: {head.splitlines()[0].decode(errors='replace')}")
        async for line in reader:
            yield json.loads(line)
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError(f"GET {path}: the agent hung up") from error
    finally:
        writer.close()


class AgentFeed:
    """A Service that follows one path of the agent, again and again.

    Args:
        name: The Service's name.
        socket: The agent's.
        target: Path and query of the next request.
        take: Gets each value.
        retry_s: How soon it is asked again.
    """

    def __init__(
        self,
        name: str,
        socket: Path,
        target: Callable[[], tuple[str, dict[str, str]]],
        take: Callable[[Json], None],
        retry_s: float = RETRY_S,
    ) -> None:
        self.name = name
        self._socket = socket
        self._target = target
        self._take = take
        self._retry_s = retry_s

    async def run(self, ready: asyncio.Event) -> None:
        """Follows until cancelled; ready at once, for the agent may come later."""
        ready.set()
        while True:
            path, query = self._target()
            try:
                async for value in follow(self._socket, path, query):
                    self._take(value)
            except (OSError, ValueError, LookupError) as error:
                log.debug("agent not followed", extra={"path": path, "error": str(error)})
            await asyncio.sleep(self._retry_s)


def node_feed(socket: Path, learn: Callable[[Json], None]) -> AgentFeed:
    """What hands on the model ClusterNodeStatus whenever the nodes change."""
    return AgentFeed("nodes", socket, lambda: ("/v1/cluster/nodes/watch", {}), learn)


def event_feed(socket: Path, history: AgentHistory) -> AgentFeed:
    """What takes over the agent's events, each once, with the time it had there."""
    position = EventPosition(history)
    return AgentFeed("agent events", socket, position.target, position.take)


class EventPosition:
    """How far the agent's events have been taken over.

    Args:
        history: Where they are kept.
    """

    def __init__(self, history: AgentHistory) -> None:
        self._history = history
        self._started = 0
        self._next = 0

    def target(self) -> tuple[str, dict[str, str]]:
        """What to ask for next."""
        return "/v1/events", {"started": str(self._started), "from": str(self._next)}

    def take(self, value: Json) -> None:
        """Keeps one event, or learns which agent speaks."""
        if "started" in value:
            self._started, self._next = value["started"], value["next"]
            return
        self._next = value["number"] + 1
        self._history.add(value["time"], agent_event(value["event"]))


def agent_event(told: Json) -> flow_pb2.AgentEvent:
    """The message that the agent wrote as JSON; one of a kind not known here says so."""
    try:
        return ParseDict(told, flow_pb2.AgentEvent())
    except ParseError as error:
        log.warning("agent event not understood", extra={"error": str(error)})
        event = flow_pb2.AgentEvent(type=flow_pb2.AGENT_EVENT_UNKNOWN)
        event.unknown.type = str(told.get("type", ""))
        event.unknown.notification = json.dumps(told)
        return event
