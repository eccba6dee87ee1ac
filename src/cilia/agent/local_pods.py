"""Pods without Kubernetes: what the container runtime says of a pod is all there is of it."""

import asyncio

from cilia.model.labels import NAMESPACE_NAME
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.namespaces import Namespace
from cilia.state.pods import Pod
from cilia.state.tables import Tables

PodKey = tuple[str, str]


class LocalPods:
    """A Service that keeps pods and namespaces as this node's endpoints are.

    Of several endpoints of one pod, the newest says which labels it has.
    """

    name = "pods of this node"

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def run(self, ready: asyncio.Event) -> None:
        """Follows the endpoints until cancelled; ready once those that there are have pods."""
        with self._tables.endpoints.watch() as watch:
            async for batch in watch:
                rows = [row for each in batch.changes for row in (each.old, each.new) if row]
                for key in dict.fromkeys((row.namespace, row.pod) for row in rows):
                    self._look(key)
                self._tables.pods.mark_synced()
                self._tables.namespaces.mark_synced()
                ready.set()

    def _look(self, key: PodKey) -> None:
        living = [
            row
            for row in self._tables.endpoints.by("pod", key)
            if row.state is not EndpointState.DISCONNECTING
        ]
        if not living:
            self._tables.pods.delete(key)
            if not self._tables.pods.by("namespace", key[0]):
                self._tables.namespaces.delete(key[0])
            return
        self._tables.namespaces.upsert(Namespace(key[0], ((NAMESPACE_NAME, key[0]),)))
        self._tables.pods.upsert(pod_of(living[-1]))


def pod_of(row: EndpointRow) -> Pod:
    """Returns the pod of an endpoint."""
    return Pod(row.namespace, row.pod, row.uid, tuple(sorted(row.given_labels)))
