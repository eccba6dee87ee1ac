"""From a pod's labels to its identity, and again whenever the labels change."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from cilia.endpoint.labels import identity_labels
from cilia.endpoint.ports import Identities
from cilia.endpoint.store import EndpointRecord
from cilia.model.label_filter import LabelFilter
from cilia.model.labels import LabelSet
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.pods import Pod
from cilia.state.tables import Tables

log = logging.getLogger(__name__)


class Identifier:
    """Follows pods and namespaces for the endpoints of this node."""

    def __init__(
        self,
        tables: Tables,
        identities: Identities,
        identified: Callable[[EndpointRow], None],
        cluster: str,
        keep: LabelFilter,
    ) -> None:
        """Calls `identified` with an endpoint's row and its new identity."""
        self._tables = tables
        self._identities = identities
        self._identified = identified
        self._cluster = cluster
        self._keep = keep
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[int, tuple[LabelSet, asyncio.Task[None]]] = {}
        self._held: dict[int, LabelSet] = {}

    async def run(self) -> None:
        """Follows until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._follow_pods(), name="endpoints follow pods")
            group.create_task(self._follow_namespaces(), name="endpoints follow namespaces")

    async def _follow_pods(self) -> None:
        with self._tables.pods.watch() as watch:
            async for changes in watch:
                for change in changes.changes:
                    for row in self._tables.endpoints.by("pod", change.key):
                        self.look(row.id)

    async def _follow_namespaces(self) -> None:
        with self._tables.namespaces.watch() as watch:
            async for changes in watch:
                names = {change.key for change in changes.changes}
                for row in self._tables.endpoints.snapshot():
                    if row.namespace in names:
                        self.look(row.id)

    def restore(self, record: EndpointRecord) -> None:
        """Holds the identity that an adopted endpoint has."""
        if record.identity is not None:
            self._identities.restore(record.labels, record.identity)
            self._held[record.id] = record.labels

    def look(self, number: int) -> None:
        """Compares an endpoint with its pod, and gets an identity if that needs another."""
        row = self._tables.endpoints.get(number)
        pod = self._pod(row)
        if row is None or pod is None or self._group is None:
            return
        namespace = self._tables.namespaces.get(pod.namespace)
        if namespace is None:
            return
        labels = identity_labels(pod, namespace, cluster=self._cluster, keep=self._keep)
        if row.identity is not None and row.labels == labels:
            self._stop(number)
            if row.named_ports != pod.named_ports:
                self._identified(msgspec.structs.replace(row, named_ports=pod.named_ports))
            return
        running = self._tasks.get(number)
        if running is not None and running[0] == labels:
            return
        self._stop(number)
        task = self._group.create_task(self._identify(number, labels), name=f"identify {number}")
        self._tasks[number] = (labels, task)

    def forget(self, number: int) -> None:
        """Lets go of an endpoint that is being deleted."""
        self._stop(number)
        held = self._held.pop(number, None)
        if held is not None:
            self._identities.release(held)

    def _pod(self, row: EndpointRow | None) -> Pod | None:
        if row is None or row.state is EndpointState.DISCONNECTING:
            return None
        pod = self._tables.pods.get((row.namespace, row.pod))
        if pod is not None and row.uid and pod.uid and row.uid != pod.uid:
            return None  # an older or newer pod of the same name
        return pod

    def _stop(self, number: int) -> None:
        running = self._tasks.pop(number, None)
        if running is not None:
            running[1].cancel()

    async def _identify(self, number: int, labels: LabelSet) -> None:
        identity = await self._identities.allocate(labels)
        self._tasks.pop(number, None)
        row = self._tables.endpoints.get(number)
        pod = self._pod(row)
        if row is None or pod is None:
            self._identities.release(labels)
            return
        before = self._held.get(number)
        self._held[number] = labels
        if before is not None:
            self._identities.release(before)
        self._identified(
            msgspec.structs.replace(
                row,
                identity=identity,
                labels=labels,
                named_ports=pod.named_ports,
                state=EndpointState.WAITING_TO_REGENERATE,
            )
        )
        self.look(number)  # the labels may have changed while we waited
