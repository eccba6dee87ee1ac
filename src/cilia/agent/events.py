"""What the agent did, as the observer hands it on: flow.AgentEvent in protobuf's JSON.

    tables ─► AgentEvents (the newest 4,096) ─► GET /v1/events, a line each

Tables tell the latest row of a key and never a backlog, so of what changed twice
at once only the last change is told.
"""

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import msgspec

from cilia.runtime.history import History
from cilia.runtime.table import Change, Table
from cilia.service.sync import PROTOCOLS, Place
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.frontends import Frontend
from cilia.state.ipcache import IpcacheRow
from cilia.state.policies import Key
from cilia.state.policy_statuses import PolicyStatus
from cilia.state.tables import Tables

Json = dict[str, Any]

EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
PLACED_WITHIN_S = 1.0
"""How long a frontend's number is waited for."""


class Knows:
    """What tables do not say.

    Args:
        failure: Why an endpoint's policy is not in the kernel; empty when it is.
        frontends: The number of each (address, port, protocol) in the kernel.
    """

    def __init__(
        self, failure: Callable[[int], str], frontends: Callable[[], Mapping[Place, int]]
    ) -> None:
        self.failure = failure
        self.frontends = frontends


class AgentEvents:
    """A Service that follows the tables and remembers what happened.

    Args:
        tables: What is followed.
        knows: What they do not say.
    """

    name = "events"

    def __init__(self, tables: Tables, knows: Knows) -> None:
        self._tables = tables
        self._knows = knows
        self.history: History[Json] = History()
        self.started_us = time.time_ns() // 1000
        moment = (EPOCH + datetime.timedelta(microseconds=self.started_us)).isoformat()
        self._note(
            {"type": "AGENT_STARTED", "agent_start": {"time": moment.replace("+00:00", "Z")}}
        )

    async def run(self, ready: asyncio.Event) -> None:
        """Follows until cancelled."""
        tables = self._tables
        ready.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(tables.endpoints, self._endpoint), name="endpoints")
            group.create_task(self._follow(tables.policy_statuses, self._policy), name="policies")
            group.create_task(self._follow(tables.ipcache, ipcache_events), name="ipcache")
            group.create_task(self._follow_frontends(), name="frontends")

    async def lines(self, started_us: int, number: int) -> AsyncIterator[Json]:
        """Every event from `number` on, for ever.

        Args:
            started_us: Of the agent whose numbers the reader knows; another one's say nothing.
            number: The first that the reader has not seen.
        """
        if started_us != self.started_us:
            number = 0
        yield {"started": self.started_us, "next": number}
        while True:
            for kept in self.history.since(number):
                yield {"number": kept.number, "time": kept.time_ns, "event": kept.item}
                number = kept.number + 1
            await self.history.wait(number)

    async def _follow(self, table: Table[Any], told: Callable[[Any], Iterable[Json]]) -> None:
        with table.watch() as watch:
            async for batch in watch:
                for change in batch.changes:
                    for event in told(change):
                        self._note(event)

    async def _follow_frontends(self) -> None:
        """Tells of frontends once they are in the kernel, for there they get their numbers."""
        table, numbers = self._tables.frontends, dict[Place, int]()
        with table.watch() as watch:
            async for batch in watch:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PLACED_WITHIN_S):
                        await table.wait_reconciled(batch.revision)
                gone, numbers = numbers, dict(self._knows.frontends())
                for change in batch.changes:
                    for event in frontend_events(change, gone | numbers):
                        self._note(event)

    def _note(self, event: Json) -> None:
        self.history.add(time.time_ns(), event)

    def _endpoint(self, change: Change[EndpointRow]) -> Iterable[Json]:
        return endpoint_events(change, self._knows.failure)

    def _policy(self, change: Change[PolicyStatus]) -> Iterable[Json]:
        return policy_events(change, self._rules)

    def _rules(self, key: Key) -> int:
        row = self._tables.policies.get(key)
        return rule_count(msgspec.json.decode(row.text)) if row is not None else 0


def endpoint_events(change: Change[EndpointRow], failure: Callable[[int], str]) -> Iterable[Json]:
    """Created, deleted, and regenerated: its policy is in the kernel, or is not."""
    _, old, new = change
    if new is None:
        if old is not None:
            yield {"type": "ENDPOINT_DELETED", "endpoint_update": _endpoint_json(old)}
        return
    if old is None:
        yield {"type": "ENDPOINT_CREATED", "endpoint_update": _endpoint_json(new)}
    was = (old.state, old.policy_revision) if old is not None else None
    if new.state is EndpointState.READY and was != (new.state, new.policy_revision):
        told = {"id": str(new.id), "labels": list(new.labels)}
        error = failure(new.id)
        if error:
            yield {
                "type": "ENDPOINT_REGENERATE_FAILURE",
                "endpoint_regenerate": {**told, "error": error},
            }
        else:
            yield {"type": "ENDPOINT_REGENERATE_SUCCESS", "endpoint_regenerate": told}


def _endpoint_json(row: EndpointRow) -> Json:
    return {
        "id": str(row.id),
        "labels": list(row.labels),
        "pod_name": row.pod,
        "namespace": row.namespace,
    }


def policy_events(change: Change[PolicyStatus], rules: Callable[[Key], int]) -> Iterable[Json]:
    """A policy that took effect or went; one that is refused changes nothing.

    Args:
        change: Of its status.
        rules: How many rules a policy holds; asked only when it took effect.
    """
    _, old, new = change
    if new is None:
        if old is not None:
            told = {"labels": policy_labels(old.key), "revision": str(old.revision)}
            yield {"type": "POLICY_DELETED", "policy_update": told}
    elif not new.error and (old is None or old.revision != new.revision):
        yield {
            "type": "POLICY_UPDATED",
            "policy_update": {
                "labels": policy_labels(new.key),
                "revision": str(new.revision),
                "rule_count": str(rules(new.key)),
            },
        }


def policy_labels(key: Key) -> list[str]:
    """The labels by which Cilium names an object's rules."""
    kind, namespace, name, _ = key
    labels = [f"k8s:io.cilium.k8s.policy.derived-from={kind}"]
    labels.append(f"k8s:io.cilium.k8s.policy.name={name}")
    if namespace:
        labels.append(f"k8s:io.cilium.k8s.policy.namespace={namespace}")
    return labels


def rule_count(document: Json) -> int:
    """How many rules an object holds: `spec` is one, `specs` are several."""
    return len(document.get("specs") or ()) + ("spec" in document)


def ipcache_events(change: Change[IpcacheRow]) -> Iterable[Json]:
    """An address that has an owner, another one, or none any more."""
    _, old, new = change
    row = new if new is not None else old
    if row is None:
        return
    told: Json = {"cidr": str(row.prefix), "identity": row.identity, "host_ip": row.node}
    told |= {"namespace": row.namespace, "pod_name": row.name}
    if new is not None and old is not None:
        told |= {"old_identity": old.identity, "old_host_ip": old.node}
    kind = "IPCACHE_DELETED" if new is None else "IPCACHE_UPSERTED"
    yield {"type": kind, "ipcache_update": told}


def frontend_events(change: Change[Frontend], numbers: Mapping[Place, int]) -> Iterable[Json]:
    """A service's address that is balanced, or not any more; 0 is no number."""
    _, old, new = change
    row = new if new is not None else old
    if row is None:
        return
    placed = numbers.get((row.address, row.port, PROTOCOLS[row.protocol]), 0)
    if new is None:
        yield {"type": "SERVICE_DELETED", "service_delete": {"id": placed}}
        return
    yield {
        "type": "SERVICE_UPSERTED",
        "service_upsert": {
            "id": placed,
            "frontend_address": {"ip": new.address, "port": new.port},
            "backend_addresses": [{"ip": one.address, "port": one.port} for one in new.backends],
            "type": new.type,
            "name": new.name,
            "namespace": new.namespace,
        },
    }
