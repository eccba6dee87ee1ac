"""`observe -f` outlives its server, and says so."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from cilia.cli.errors import ClientError
from cilia.cli.hubble.following import Follower, LostError
from cilia.hubble.proto.observer.observer_pb2 import GetFlowsResponse, ServerStatusResponse

Json = Any


def flow_at(seconds: int) -> GetFlowsResponse:
    made = GetFlowsResponse()
    made.time.seconds = made.flow.time.seconds = seconds
    return made


def loss_at(seconds: int) -> GetFlowsResponse:
    made = GetFlowsResponse()
    made.time.seconds = seconds
    made.lost_events.num_events_lost = 1
    return made


class Server:
    """Sends some flows (losses, where a time is negative), then ends as it is told."""

    def __init__(
        self,
        times: list[int],
        end: Exception | None,
        uptime_ns: int = 10**15,
        refusal: Exception | None = None,
    ) -> None:
        self.requests: list[Json] = []
        self._refusal = refusal
        self._times, self._end, self._uptime_ns = times, end, uptime_ns

    def flows(self, request: Json) -> Iterator[GetFlowsResponse]:
        self.requests.append(request)
        for seconds in self._times:
            yield flow_at(seconds) if seconds > 0 else loss_at(-seconds)
        if self._end is not None:
            raise self._end

    def status(self) -> ServerStatusResponse:
        if self._refusal is not None:
            raise self._refusal
        return ServerStatusResponse(uptime_ns=self._uptime_ns)

    def close(self) -> None:
        pass


def follow(*servers: Server | Exception) -> tuple[Iterator[Any], list[str], list[float]]:
    left, news, pauses = list(servers), [], []

    def connect() -> Server:
        one = left.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    follower = Follower(connect, "flows", news.append, pauses.append)
    return follower.messages({"follow": True, "number": 20}), news, pauses


GONE = LostError("cannot reach the observer at x: gone")


def test_a_server_that_comes_back_is_asked_for_what_is_new() -> None:
    first, second = Server([3, 5], GONE), Server([6], None, uptime_ns=1)
    stream, news, pauses = follow(first, GONE, GONE, second)
    assert [one.time.seconds for one in islice(stream, 3)] == [3, 5, 6]
    assert first.requests == [{"follow": True, "number": 20}]
    (asked,) = second.requests
    assert asked == {"follow": True, "number": 0, "first": False, "since": 5 * 10**9 + 1}
    assert news[0] == "cannot reach the observer at x: gone; waiting for it to come back"
    assert news[1].startswith("the server is back after ")
    assert news[1].endswith("EVENTS LOST")
    assert len(pauses) == 3


def test_a_loss_says_nothing_about_the_flows_that_were_seen() -> None:
    second = Server([6], None)
    stream, _, _ = follow(Server([3, -900], GONE), second)
    assert [one.time.seconds for one in islice(stream, 3)] == [3, 900, 6]
    assert second.requests[0]["since"] == 3 * 10**9 + 1


def test_a_server_that_lived_on_is_not_called_new() -> None:
    stream, news, _ = follow(Server([3], None), Server([4], None))
    assert [one.time.seconds for one in islice(stream, 2)] == [3, 4]
    assert news[0] == "the server ended the stream; asking it again"
    assert news[1].startswith("the server is back after ")
    assert "LOST" not in news[1]


def test_nobody_to_begin_with_is_an_error() -> None:
    with pytest.raises(LostError):
        next(follow(GONE)[0])
    with pytest.raises(LostError):
        next(follow(Server([1], None, refusal=GONE))[0])


def test_a_server_that_had_nothing_to_say_is_waited_for() -> None:
    stream, news, _ = follow(Server([], GONE), Server([4], None))
    assert next(stream).time.seconds == 4
    assert len(news) == 2


def test_a_server_that_knows_no_status_is_one() -> None:
    stream, _, _ = follow(Server([4], None, refusal=ClientError("does not answer this")))
    assert next(stream).time.seconds == 4


def test_a_refusal_is_not_waited_out() -> None:
    stream, news, _ = follow(Server([1], ClientError("no such field")))
    next(stream)
    with pytest.raises(ClientError, match="no such field"):
        next(stream)
    assert news == []
