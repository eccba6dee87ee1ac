"""`observe --follow` outlives the server: it connects again and goes on where it was."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from cilia.cli.errors import ClientError

Json = Any
Message = Any

NS = 1_000_000_000
RETRY_S = 0.2


class LostError(ClientError):
    """The server cannot be reached, or has gone away."""


class Follower:
    """A stream that comes from one server after another.

    Args:
        connect: Makes a connection, whose method `kind` takes a request.
        kind: flows, agent_events or debug_events.
        tell: Gets news about the connection.
        pause: Waits so many seconds.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        kind: str,
        tell: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect = connect
        self._kind = kind
        self._tell = tell
        self._pause = pause
        self._seen_ns = 0

    def messages(self, request: Json) -> Iterator[Message]:
        """All messages, without end; of a server that comes back only what is new.

        Raises:
            ClientError: the server refuses, or there was none to begin with.
        """
        server, started_ns = self._first(), time.time_ns()
        while True:
            try:
                for message in getattr(server, self._kind)(request):
                    if self._kind != "flows" or message.HasField("flow"):
                        # A loss has the time at which it was found out.
                        self._seen_ns = max(self._seen_ns, _time_ns(message))
                    yield message
            except LostError as error:
                self._tell(f"{error.message}; waiting for it to come back")
            else:
                self._tell("the server ended the stream; asking it again")
            server.close()
            server = self._again()
            since = self._seen_ns + 1 if self._seen_ns else started_ns
            request = {**request, "since": since} | {"number": 0, "first": False}

    def _first(self) -> Any:
        """A server that is there: a stream alone would not tell before it brings something."""
        server = self._connect()
        try:
            server.status()
        except LostError:
            raise
        except ClientError:
            pass  # it is there, and does not answer this
        return server

    def _again(self) -> Any:
        """The next server, as soon as there is one that answers."""
        since = time.monotonic()
        while True:
            self._pause(RETRY_S)
            try:
                server = self._connect()
                status = server.status()
            except ClientError:
                continue
            away_s = time.monotonic() - since
            said = f"the server is back after {away_s:.1f} s"
            if 0 < status.uptime_ns < away_s * NS:
                said += "; it is a new one, and what it could not see is told as EVENTS LOST"
            self._tell(said)
            return server


def _time_ns(message: Message) -> int:
    moment = message.time
    return int(moment.seconds * NS + moment.nanos)
