"""The controllers' edge: watches the cluster, asks every decision, carries the changes out."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from cilia.lab.controllers.address import address_changes
from cilia.lab.controllers.cluster import (
    PODS,
    WATCHED,
    Bind,
    Change,
    Cluster,
    Create,
    Delete,
    Empty,
    Object,
    Patch,
    Resource,
    is_terminating,
)
from cilia.lab.controllers.deployment import deployment_changes
from cilia.lab.controllers.emptying import empty_namespace
from cilia.lab.controllers.endpointslice import endpoint_changes
from cilia.lab.controllers.event import EVENTS, event_of, told_of
from cilia.lab.controllers.namespace import namespace_changes
from cilia.lab.controllers.node import node_changes
from cilia.lab.controllers.replicaset import replicaset_changes
from cilia.lab.controllers.scheduler import scheduling_changes
from cilia.wire.kubernetes import ApiError, ApiUnreachable, Changed, KubernetesClient, Synced

log = logging.getLogger(__name__)

TICK_S = 1.0
"""Decisions that depend on time (minReadySeconds, deadlines) are asked this often."""
MAX_EVENTS = 500
"""Events that wait to be sent at most; further ones are not told."""
RETRY_S = 0.2
"""Pause after a refused change, for the watch to bring what it was refused for."""

DECISIONS: tuple[Callable[[Cluster, datetime], list[Change]], ...] = (
    lambda cluster, _: node_changes(cluster),
    lambda cluster, _: namespace_changes(cluster),
    lambda cluster, _: address_changes(cluster),
    deployment_changes,
    replicaset_changes,
    scheduling_changes,
    lambda cluster, _: endpoint_changes(cluster),
)
"""In the order in which one's result is the next one's matter."""


class Controllers:
    """All controllers of one cluster."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._cluster = Cluster()
        self._synced: set[Resource] = set()
        self._dirty = asyncio.Event()
        self._events: asyncio.Queue[Object] = asyncio.Queue(MAX_EVENTS)
        self._serial = time.time_ns()

    async def run(self) -> None:
        """Watches and acts until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource in WATCHED:
                group.create_task(self._watch(resource), name=f"watch-{resource.plural}")
            group.create_task(self._act(), name="act")
            group.create_task(self._tell(), name="tell")

    async def _watch(self, resource: Resource) -> None:
        async for event in self._client.list_watch(resource.collection()):
            if isinstance(event, Synced):
                self._cluster.replace_all(resource, event.items)
                self._synced.add(resource)
            elif isinstance(event, Changed):
                self._cluster.put(resource, event.item)
            else:
                self._cluster.drop(resource, event.item)
            self._dirty.set()

    async def _act(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._dirty.wait()
            except TimeoutError:
                pass
            self._dirty.clear()
            if len(self._synced) == len(WATCHED) and not await self._pass():
                await asyncio.sleep(RETRY_S)
                self._dirty.set()

    async def _pass(self) -> bool:
        """Asks each decision once and carries out what it says; False: something was refused."""
        well = True
        for decide in DECISIONS:
            try:
                changes = decide(self._cluster, datetime.now(UTC))
            except (KeyError, TypeError, ValueError) as error:
                log.exception("controller failed", extra={"error": repr(error)})
                well = False
                continue
            for done in await asyncio.gather(*(self._carry_out(one) for one in changes)):
                well &= done
        return well

    async def _tell(self) -> None:
        """Sends events, one after the other, behind what matters."""
        while True:
            event = await self._events.get()
            namespace = event["metadata"]["namespace"]
            try:
                await self._client.create(EVENTS.collection(namespace), event)
            except (ApiError, ApiUnreachable) as error:
                log.debug("event lost", extra={"error": str(error)})

    def _note(self, change: Change, answer: Object) -> None:
        """Has people told of a change; beyond a limit they are told less."""
        told = told_of(change, answer, self._cluster)
        if told is not None and not self._events.full():
            self._serial += 1
            self._events.put_nowait(event_of(told, self._serial, datetime.now(UTC)))

    async def _carry_out(self, change: Change) -> bool:
        try:
            match change:
                case Create(resource, item):
                    namespace = item["metadata"].get("namespace", "")
                    made = await self._client.create(resource.collection(namespace), item)
                    self._note(change, made)
                    self._cluster.put(resource, made)
                case Patch(resource, namespace, name, body, subresource):
                    path = resource.path(namespace, name)
                    suffix = f"/{subresource}" if subresource else ""
                    answer = await self._client.patch(path + suffix, body)
                    self._note(change, answer)
                    self._cluster.put(resource, answer)
                case Delete():
                    await self._delete(change)
                case Bind(namespace, name, node):
                    self._note(change, await self._bind(namespace, name, node))
                case Empty(namespace):
                    return await empty_namespace(self._client, namespace)
        except ApiError as error:
            if not (error.is_conflict or error.is_missing):
                log.warning("change refused", extra={"error": str(error)})
            return False
        except ApiUnreachable:
            return False
        return True

    async def _delete(self, change: Delete) -> None:
        path = change.resource.path(change.namespace, change.name)
        options = {"kind": "DeleteOptions", "apiVersion": "v1"}
        answer = await self._client.delete(
            path,
            {**options, "preconditions": {"uid": change.uid}, "propagationPolicy": "Background"},
        )
        self._note(change, answer)
        if answer.get("kind") == change.resource.kind and is_terminating(answer):
            self._cluster.put(change.resource, answer)
        elif known := self._cluster.get(change.resource, change.namespace, change.name):
            self._cluster.drop(change.resource, known)

    async def _bind(self, namespace: str, name: str, node: str) -> Object:
        binding: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        answer = await self._client.create(f"{PODS.path(namespace, name)}/binding", binding)
        if pod := self._cluster.get(PODS, namespace, name):
            # The answer holds no pod; until the watch brings it, it counts as bound.
            bound = {**pod, "spec": {**pod["spec"], "nodeName": node}}
            self._cluster.replace_one(PODS, bound)
        return answer
