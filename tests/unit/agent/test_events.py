"""Changes of tables as events of the agent, and on to the observer's history."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cilia.agent.events import (
    AgentEvents,
    Knows,
    frontend_events,
    policy_events,
    policy_labels,
    rule_count,
)
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.server.agent_events import AgentHistory
from cilia.model.prefixes import prefix_key
from cilia.observer.agent_feed import AgentFeed, EventPosition, agent_event, follow
from cilia.runtime.table import Change
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.frontends import Backend, Frontend
from cilia.state.ipcache import IpcacheRow
from cilia.state.policies import PolicyObject
from cilia.state.policy_statuses import PolicyStatus
from cilia.state.tables import Tables
from cilia.wire.unixhttp import Request, Response, UnixServer, query_number, stream_response

DEADLINE_S = 30
POD = EndpointRow(
    id=7, namespace="shop", pod="web", uid="u", container="c", ifname="lxc", ifindex=9,
    mac="", host_mac="", v4="10.0.0.7", v6=None, state=EndpointState.WAITING_FOR_IDENTITY,
    labels=("k8s:app=web",),
)  # fmt: skip
KEY = ("CiliumNetworkPolicy", "shop", "only-web", "")
FRONTEND = Frontend(
    "10.96.0.9", 80, "TCP", "shop", "web", "ClusterIP", (Backend("10.0.0.7", 8080, "TCP"),)
)
Json = dict[str, Any]


class World:
    """Tables, what they do not say, and the events that came of it."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.failure = ""
        knows = Knows(lambda number: self.failure, lambda: {("10.96.0.9", 80, 6): 4})
        self.events = AgentEvents(self.tables, knows)

    async def told(self, count: int) -> list[Json]:
        """The newest so many events, once there are that many besides the start."""
        await self.events.history.wait(count)
        return [kept.item for kept in self.events.history.since(0)][-count:]


def follow_tables(story: Any) -> None:
    """Runs a story beside the service that follows the tables."""

    async def run() -> None:
        world = World()
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            service = group.create_task(world.events.run(asyncio.Event()))
            await asyncio.sleep(0)
            await story(world)
            service.cancel()

    asyncio.run(run())


def test_an_endpoints_life() -> None:
    async def story(world: World) -> None:
        table, ready = world.tables.endpoints, EndpointState.READY
        steps = (
            (POD, "ENDPOINT_CREATED"),
            (msgspec.structs.replace(POD, state=ready, policy_revision=1), "SUCCESS"),
            (msgspec.structs.replace(POD, state=ready, policy_revision=2), "FAILURE"),
        )
        for count, (row, kind) in enumerate(steps, 1):
            world.failure = "map policy is full" if kind == "FAILURE" else ""
            table.upsert(row)
            told = (await world.told(count))[-1]
            assert told["type"].endswith(kind)
        assert told["endpoint_regenerate"]["error"] == "map policy is full"
        table.delete(7)
        told = (await world.told(4))[-1]
        assert told["type"] == "ENDPOINT_DELETED"
        assert told["endpoint_update"]["pod_name"] == "web"

    follow_tables(story)


def test_rules_are_counted_only_where_a_policy_took_effect() -> None:
    asked: list[Any] = []

    def rules(key: Any) -> int:
        asked.append(key)
        return 3

    status = PolicyStatus(KEY, 2, revision=5)
    changes = [
        Change(KEY, status, msgspec.structs.replace(status, endpoints=(7,))),
        Change(KEY, status, msgspec.structs.replace(status, error="no such field")),
        Change(KEY, status, None),
    ]
    assert [len(list(policy_events(change, rules))) for change in changes] == [0, 0, 1]
    assert asked == []
    (told,) = policy_events(Change(KEY, None, status), rules)
    assert told["policy_update"]["rule_count"] == "3"
    assert asked == [KEY]


def test_a_policy_that_is_refused_is_no_event() -> None:
    async def story(world: World) -> None:
        tables = world.tables
        text = msgspec.json.encode({"specs": [{}, {}]})
        tables.policies.upsert(PolicyObject(*KEY[:3], "u", 1, text))
        tables.policy_statuses.upsert(PolicyStatus(KEY, 1, error="no such field"))
        await asyncio.sleep(0)
        tables.policy_statuses.upsert(PolicyStatus(KEY, 2, revision=5))
        (told,) = await world.told(1)
        assert told["type"] == "POLICY_UPDATED"
        assert told["policy_update"]["revision"] == "5"
        assert told["policy_update"]["rule_count"] == "2"
        assert "k8s:io.cilium.k8s.policy.name=only-web" in told["policy_update"]["labels"]
        tables.policy_statuses.upsert(PolicyStatus(KEY, 2, revision=5, endpoints=(7,)))
        await asyncio.sleep(0)
        tables.policy_statuses.delete(KEY)
        assert (await world.told(2))[-1]["type"] == "POLICY_DELETED"

    follow_tables(story)


def test_an_address_with_another_owner_tells_both() -> None:
    async def story(world: World) -> None:
        row = IpcacheRow(prefix_key(ip_network("10.0.1.7/32")), 300, "172.30.0.12", name="web")
        world.tables.ipcache.upsert(row)
        await world.told(1)
        world.tables.ipcache.upsert(msgspec.structs.replace(row, identity=301))
        told = (await world.told(2))[-1]
        assert (told["type"], told["ipcache_update"]["cidr"]) == ("IPCACHE_UPSERTED", "10.0.1.7/32")
        assert (told["ipcache_update"]["old_identity"], told["ipcache_update"]["identity"]) == (
            300,
            301,
        )
        world.tables.ipcache.delete(row.key)
        assert (await world.told(3))[-1]["type"] == "IPCACHE_DELETED"

    follow_tables(story)


def test_a_frontend_has_the_number_of_the_kernel_once_it_is_there() -> None:
    async def story(world: World) -> None:
        table = world.tables.frontends
        table.upsert(FRONTEND)
        table.reconciled("kernel", table.revision)
        (told,) = await world.told(1)
        assert (told["type"], told["service_upsert"]["id"]) == ("SERVICE_UPSERTED", 4)
        event = agent_event(told)
        assert event.service_upsert.backend_addresses[0].port == 8080

    follow_tables(story)
    (gone,) = frontend_events(Change(FRONTEND.key, FRONTEND, None), {("10.96.0.9", 80, 6): 4})
    assert gone == {"type": "SERVICE_DELETED", "service_delete": {"id": 4}}


def test_every_event_is_a_message_of_the_contract() -> None:
    """What the agent writes as JSON is understood without a remainder."""

    async def story(world: World) -> None:
        start = agent_event(world.events.history.since(0)[0].item)
        assert start.type == flow_pb2.AGENT_STARTED
        assert start.agent_start.time.ToNanoseconds() == world.events.started_us * 1000

    follow_tables(story)
    strange = agent_event({"type": "BREWED", "coffee": 1})
    assert strange.type == flow_pb2.AGENT_EVENT_UNKNOWN
    assert strange.unknown.type == "BREWED"


@pytest.mark.parametrize(
    ("document", "count"), [({"spec": {}}, 1), ({"specs": [{}, {}]}, 2), ({}, 0)]
)
def test_rules_of_an_object(document: Json, count: int) -> None:
    assert rule_count(document) == count


def test_a_clusterwide_policy_has_no_namespace() -> None:
    assert len(policy_labels(("CiliumClusterwideNetworkPolicy", "", "all", ""))) == 2


def serving(socket: Path, events: AgentEvents) -> UnixServer:
    """The agent's REST API, as far as events go."""

    async def stream(request: Request) -> Response:
        started, number = query_number(request, "started", 0), query_number(request, "from", 0)
        return await stream_response(request, events.lines(started, number))

    return UnixServer(socket, [("GET", "/v1/events", stream)])


def test_the_observer_has_each_event_once_through_restarts(tmp_path: Path) -> None:
    """Of its own connection, and of the agent, whose numbers then begin anew."""
    socket, history = tmp_path / "cilia.sock", AgentHistory()
    position = EventPosition(history)

    async def run() -> None:
        feed = AgentFeed("events", socket, position.target, position.take, retry_s=0.01)
        first, second = World().events, World().events
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            reading = group.create_task(feed.run(asyncio.Event()))
            for known, events in enumerate((first, first, second)):
                if known == 1:
                    events.history.add(5, {"type": "POLICY_DELETED"})
                agent = group.create_task(serving(socket, events).run(asyncio.Event()))
                await history.wait(known)
                agent.cancel()
                await asyncio.gather(agent, return_exceptions=True)
            reading.cancel()
        kinds = [kept.item.type for kept in history.since(0)]
        started, deleted = flow_pb2.AGENT_STARTED, flow_pb2.POLICY_DELETED
        assert kinds == [started, deleted, started]

    asyncio.run(run())


def test_an_answer_that_is_no_stream_is_an_error(tmp_path: Path) -> None:
    async def run() -> None:
        ready = asyncio.Event()
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            server = UnixServer(tmp_path / "s.sock", [])
            agent = group.create_task(server.run(ready))
            await ready.wait()
            with pytest.raises(ValueError, match="404"):
                await anext(follow(tmp_path / "s.sock", "/v1/events", {}))
            agent.cancel()

    asyncio.run(run())


def test_a_position_asks_for_what_has_not_been_seen() -> None:
    history = AgentHistory()
    position = EventPosition(history)
    assert position.target()[1] == {"started": "0", "from": "0"}
    position.take({"started": 9, "next": 0})
    position.take({"number": 0, "time": 5, "event": {"type": "POLICY_DELETED"}})
    assert position.target()[1] == {"started": "9", "from": "1"}
    assert [kept.time_ns for kept in history.since(0)] == [5]


async def nothing() -> AsyncIterator[Json]:
    """A stream that never says anything."""
    await asyncio.Event().wait()
    yield {}


def test_a_server_that_stops_ends_its_streams(tmp_path: Path) -> None:
    async def run() -> None:
        async def stream(request: Request) -> Response:
            return await stream_response(request, nothing())

        ready = asyncio.Event()
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            server = UnixServer(tmp_path / "s.sock", [("GET", "/v1/events", stream)])
            agent = group.create_task(server.run(ready))
            await ready.wait()
            feed = AgentFeed("f", tmp_path / "s.sock", lambda: ("/v1/events", {}), print)
            reading = group.create_task(feed.run(asyncio.Event()))
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s.sock"))
            writer.write(b"GET /v1/events HTTP/1.0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            agent.cancel()
            assert await reader.read() == b""
            writer.close()
            reading.cancel()

    asyncio.run(run())
