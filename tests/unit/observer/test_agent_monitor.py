"""The agent's news in the monitor: those from now on, once."""

import asyncio
import time
from typing import Any

import numpy as np

from cilia.hubble.monitor import Filters, Monitor
from cilia.hubble.proto.flow import flow_pb2
from cilia.observer.agent_monitor import AgentMonitor, monitor_event
from cilia.runtime.history import History

POLICY = flow_pb2.AgentEvent(
    type=flow_pb2.POLICY_UPDATED,
    policy_update=flow_pb2.PolicyUpdateNotification(revision=5, rule_count=2),
)


class Heard(Monitor):
    """Keeps what is announced."""

    def __init__(self) -> None:
        super().__init__({})
        self.events: list[dict[str, Any]] = []

    def announce(self, event: dict[str, Any]) -> None:
        self.events.append(event)


def test_what_it_looks_like() -> None:
    assert monitor_event(1_000_000_001, POLICY) == {
        "time": "1970-01-01T00:00:01.000000001Z",
        "type": "agent",
        "subtype": "POLICY_UPDATED",
        "message": {"revision": "5", "rule_count": "2"},
    }
    assert monitor_event(0, flow_pb2.AgentEvent())["message"] == {}


def test_only_news_is_shown_and_only_once() -> None:
    async def scene() -> list[dict[str, Any]]:
        history: History[flow_pb2.AgentEvent] = History()
        history.add(time.time_ns(), POLICY)  # before anybody came
        heard, ready = Heard(), asyncio.Event()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            running = group.create_task(AgentMonitor(history, heard).run(ready))
            await ready.wait()
            history.add(5, POLICY)  # what the agent did before, told again
            for _ in range(2):
                history.add(time.time_ns(), POLICY)
            while len(heard.events) < 2:
                await asyncio.sleep(0)
            running.cancel()
        return heard.events

    events = asyncio.run(scene())
    assert [event["subtype"] for event in events] == ["POLICY_UPDATED"] * 2


def test_nobody_is_told_who_wants_packets_only() -> None:
    assert not Filters(types=("drop",)).wants_agent
    assert len(Filters(types=("agent",)).matching(np.zeros(3, [("type", "u1")]), str)) == 0
