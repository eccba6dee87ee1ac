"""The agent's events, for whoever watches the monitor."""

import asyncio
import time
from typing import Any

from google.protobuf.json_format import MessageToDict

from cilia.hubble.events import time_text
from cilia.hubble.monitor import AGENT, Monitor
from cilia.hubble.proto.flow.flow_pb2 import AgentEvent, AgentEventType
from cilia.hubble.server.agent_events import AgentHistory

Json = dict[str, Any]


class AgentMonitor:
    """A Service: shows the monitor what the agent tells from now on.

    Args:
        history: The agent's events.
        monitor: Where they are shown.
    """

    name = "agent monitor"

    def __init__(self, history: AgentHistory, monitor: Monitor) -> None:
        self._history = history
        self._monitor = monitor

    async def run(self, ready: asyncio.Event) -> None:
        """Shows them until cancelled; what an earlier observer showed is not shown again."""
        ready.set()
        number, begun = self._history.next, time.time_ns()
        while True:
            await self._history.wait(number)
            for kept in self._history.since(number):
                if kept.time_ns >= begun:
                    self._monitor.announce(monitor_event(kept.time_ns, kept.item))
            number = self._history.next


def monitor_event(time_ns: int, told: AgentEvent) -> Json:
    """One of the agent's events as the monitor's clients get it."""
    kind = told.WhichOneof("notification")
    message = MessageToDict(told, preserving_proto_field_name=True)
    return {
        "time": time_text(time_ns),
        "type": AGENT,
        "subtype": AgentEventType.Name(told.type),
        "message": message.get(kind, {}) if kind else {},
    }
