"""GetAgentEvents: which of the agent's events a request wants."""

from collections.abc import AsyncIterator

from cilia.hubble.flows import timestamp
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.server.getflows import EARLIEST, LATEST, unix_ns
from cilia.hubble.server.limits import InvalidRequestError
from cilia.runtime.history import History

Request = observer_pb2.GetAgentEventsRequest
Response = observer_pb2.GetAgentEventsResponse
AgentHistory = History[flow_pb2.AgentEvent]


class AgentEventStream:
    """One GetAgentEvents call; the rules are those of GetFlows.

    Args:
        request: What is wanted.
        log: The events.
        node: `<cluster>/<node>`.

    Raises:
        InvalidRequestError: `first` with `follow`.
    """

    def __init__(self, request: Request, log: AgentHistory, node: str) -> None:
        if request.first and request.follow:
            raise InvalidRequestError("first and follow: the oldest events do not go on")
        self._request = request
        self._log = log
        self._node = node
        self._since = unix_ns(request.since) if request.HasField("since") else None
        self._until = unix_ns(request.until) if request.HasField("until") else LATEST

    async def responses(self) -> AsyncIterator[Response]:
        """The events, oldest first."""
        request, log = self._request, self._log
        number = self._start()
        end = LATEST if request.follow else log.next
        left = request.number if request.number and not request.follow else LATEST
        while left and number < end:
            if number < log.oldest:
                yield self._lost(log.oldest - number)
                number = log.oldest
            for each in log.since(number):
                number = each.number + 1
                if each.time_ns > self._until:
                    return
                if not left or each.number >= end:
                    break
                if each.time_ns >= (EARLIEST if self._since is None else self._since):
                    yield self._response(each.time_ns, each.item)
                    left -= 1
            if number < end and request.follow:
                await log.wait(number)

    def _start(self) -> int:
        """The number of the first event to look at."""
        request, log = self._request, self._log
        if self._since is not None or request.first:
            return log.oldest
        if not request.number:
            return log.next if request.follow else log.oldest
        fitting = [one for one in log.since(0) if one.time_ns <= self._until]
        wanted = fitting[-request.number :]
        return wanted[0].number if wanted else log.next

    def _lost(self, count: int) -> Response:
        """Says so in the one kind that has words: LostEvent is none of the answers here."""
        event = flow_pb2.AgentEvent(type=flow_pb2.AGENT_EVENT_UNKNOWN)
        event.unknown.type = "lost"
        event.unknown.notification = f"{count} events went by too fast for this reader"
        newest = self._log.since(self._log.oldest)[0].time_ns
        return self._response(newest, event)

    def _response(self, time_ns: int, event: flow_pb2.AgentEvent) -> Response:
        return Response(agent_event=event, node_name=self._node, time=timestamp(time_ns))
