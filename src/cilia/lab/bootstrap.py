"""The cluster's first objects: cluster DNS and demos; and what is not ready yet."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cilia.lab.manifests import api_objects, demo_objects, dns_objects
from cilia.lab.readiness import Readiness
from cilia.lab.site import LabSite
from cilia.wire.kubernetes import ApiError, ApiUnreachable, Changed, KubernetesClient, Synced

log = logging.getLogger(__name__)

Object = dict[str, Any]

POLL_S = 0.05
WATCHED = {
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/pods",
    "Deployment": "/apis/apps/v1/deployments",
}
COLLECTIONS = {
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Endpoints": "/api/v1/namespaces/{namespace}/endpoints",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
}
"""Where objects of the manifests are created."""


class Bootstrap:
    """Makes the first objects and follows their readiness."""

    def __init__(
        self,
        site: LabSite,
        demos: tuple[str, ...],
        step: Callable[[str], None],
        changed: Callable[[], None],
        since: datetime | None,
    ) -> None:
        self._site = site
        self._demos = demos
        self._step = step
        self._changed = changed
        self._readiness = Readiness(site.node_names, since)
        self._apply = asyncio.Event()
        self._answered = False

    def want(self, demos: tuple[str, ...]) -> None:
        """Has further demos applied."""
        self._demos = demos
        self._apply.set()

    def missing(self) -> list[str]:
        """What is not ready yet, in words."""
        if not self._answered:
            return ["API server"]
        unapplied = [f"demo {demo}" for demo in self._demos if not self._readiness.knows(demo)]
        return self._readiness.missing() + unapplied

    async def run(self) -> None:
        """Applies, and watches, until cancelled."""
        async with KubernetesClient.from_kubeconfig(self._site.kubeconfig) as client:
            await self._wait_answer(client)
            async with asyncio.TaskGroup() as group:
                for kind, path in WATCHED.items():
                    group.create_task(self._watch(client, kind, path))
                group.create_task(self._apply_all(client))

    async def _wait_answer(self, client: KubernetesClient) -> None:
        while not self._answered:
            try:
                await client.get("/api/v1/namespaces")
                self._answered = True
            except (ApiUnreachable, ApiError):
                await asyncio.sleep(POLL_S)
        self._step("API server")

    async def _apply_all(self, client: KubernetesClient) -> None:
        while True:
            self._apply.clear()
            groups = {"API service": api_objects(), "cluster DNS": dns_objects(self._site)}
            groups |= {demo: demo_objects(demo) for demo in self._demos}
            for name, objects in groups.items():
                if not self._readiness.knows(name):
                    for item in objects:
                        await self._create(client, item)
                    self._readiness.want(name, objects)
                    self._report()
            await self._apply.wait()

    async def _create(self, client: KubernetesClient, item: Object) -> None:
        namespace = item["metadata"].get("namespace", "default")
        path = COLLECTIONS[item["kind"]].format(namespace=namespace)
        while True:
            try:
                await client.create(path, item)
                return
            except ApiUnreachable:
                await asyncio.sleep(POLL_S)
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    return
                log.error("object refused", extra={"path": path, "error": str(error)})
                await asyncio.sleep(1)

    async def _watch(self, client: KubernetesClient, kind: str, path: str) -> None:
        async with contextlib.aclosing(client.list_watch(path)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Synced):
                    self._readiness.reset(kind, event.items)
                elif isinstance(event, Changed):
                    self._readiness.put(kind, event.item)
                else:
                    self._readiness.drop(kind, event.item)
                self._report()

    def _report(self) -> None:
        for name in self._readiness.complete():
            self._step(name)
        self._changed()
