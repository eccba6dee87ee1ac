"""This node's endpoints as CiliumEndpoint objects, for other nodes and for people.

Source: agent/crds/ciliumendpoints.json. The object has the pod's name, belongs to the
pod, and has no status subresource.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cilia.agent.workloads import ANNOTATION, told_workload
from cilia.model.errors import CiliaError
from cilia.model.workloads import Workload
from cilia.runtime.reconciler import Failed
from cilia.state.endpoints import EndpointRow
from cilia.wire.kubernetes import ApiError, KubernetesClient

log = logging.getLogger(__name__)

ROOT = "/apis/cilium.io/v2"
Object = dict[str, Any]


def collection(namespace: str) -> str:
    """Returns the path of a namespace's CiliumEndpoints."""
    return f"{ROOT}/namespaces/{namespace}/ciliumendpoints"


def endpoint_object(
    row: EndpointRow, node_address: str, workload: Workload | None = None
) -> Object:
    """Returns an endpoint's CiliumEndpoint."""
    addressing = {k: v for k, v in (("ipv4", row.v4), ("ipv6", row.v6)) if v}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {
            "name": row.pod,
            "namespace": row.namespace,
            **({"annotations": {ANNOTATION: str(workload)}} if workload else {}),
            **({"ownerReferences": [_owner(row)]} if row.uid else {}),
        },
        "status": {
            "id": row.id,
            "external-identifiers": {
                "container-id": row.container,
                "k8s-namespace": row.namespace,
                "k8s-pod-name": row.pod,
                "pod-name": f"{row.namespace}/{row.pod}",
            },
            "identity": {"id": row.identity, "labels": list(row.labels)},
            "networking": {"addressing": [addressing], "node": node_address},
            "named-ports": [
                {"name": port.name, "port": port.port, "protocol": port.protocol}
                for port in row.named_ports
            ],
            "policy": {
                "ingress": _direction(row.ingress_enforced, row.audit),
                "egress": _direction(row.egress_enforced, row.audit),
            },
            "encryption": {},
            "state": str(row.state),
        },
    }


def _owner(row: EndpointRow) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "name": row.pod, "uid": row.uid}


def _direction(enforced: bool, audit: bool) -> Object:
    if not enforced:
        return {"enforcing": False, "state": "none"}
    return {"enforcing": True, "state": "audit" if audit else "enforcing"}


class EndpointObjects:
    """A reconciler's target: CiliumEndpoint objects of this node.

    Args:
        node_address: The node's address, by which other nodes reach these pods and by
            which we know the objects that are ours.
        workload_of: Gives what a pod belongs to, by namespace and name.
    """

    def __init__(
        self,
        client: KubernetesClient,
        node_address: str,
        workload_of: Callable[[str, str], Workload | None] = lambda namespace, name: None,
    ) -> None:
        self._client = client
        self._node_address = node_address
        self._workload_of = workload_of

    async def update(self, rows: Sequence[EndpointRow]) -> Sequence[Failed]:
        """Writes the objects of endpoints that have an identity."""
        failed = []
        for row in rows:
            try:
                if row.identity is not None:
                    await self._put(row)
            except CiliaError as error:
                failed.append(Failed(row.id, f"CiliumEndpoint {row.namespace}/{row.pod}: {error}"))
        return failed

    async def delete(self, rows: Sequence[EndpointRow]) -> Sequence[Failed]:
        """Deletes the objects of endpoints, unless they are another node's by now."""
        failed = []
        for row in rows:
            path = f"{collection(row.namespace)}/{row.pod}"
            try:
                present = await self._get(path)
                if present is not None and self._is_ours(present, row.id):
                    await self._remove(path, present)
            except CiliaError as error:
                failed.append(Failed(row.id, f"CiliumEndpoint {row.namespace}/{row.pod}: {error}"))
        return failed

    async def prune(self, rows: Sequence[EndpointRow]) -> Sequence[Failed]:
        """Writes the objects, and deletes those of this node that no endpoint explains."""
        failed = list(await self.update(rows))
        known = {(row.namespace, row.pod) for row in rows}
        found = await self._client.get(f"{ROOT}/ciliumendpoints")
        for item in found.get("items") or ():
            metadata = item["metadata"]
            key = (metadata["namespace"], metadata["name"])
            if key not in known and self._is_ours(item):
                log.info("stale CiliumEndpoint removed", extra={"endpoint": "/".join(key)})
                await self._remove(f"{collection(key[0])}/{key[1]}", item)
        return failed

    async def _put(self, row: EndpointRow) -> None:
        path = f"{collection(row.namespace)}/{row.pod}"
        present = await self._get(path)
        workload = self._workload_of(row.namespace, row.pod)
        if workload is None and present is not None:  # we have just started: the pod comes later
            workload = told_workload(present["metadata"].get("annotations"))
        wanted = endpoint_object(row, self._node_address, workload)
        if present is None:
            await self._client.create(collection(row.namespace), wanted)
        elif present.get("status") != wanted["status"] or _told(present) != _told(wanted):
            version = present["metadata"]["resourceVersion"]
            metadata = {**wanted["metadata"], "resourceVersion": version}
            await self._client.replace(path, {**wanted, "metadata": metadata})

    async def _get(self, path: str) -> Object | None:
        try:
            return await self._client.get(path)
        except ApiError as error:
            if error.is_missing:
                return None
            raise

    async def _remove(self, path: str, present: Object) -> None:
        preconditions = {"uid": present["metadata"]["uid"]}
        try:
            await self._client.delete(path, {"preconditions": preconditions})
        except ApiError as error:
            if not (error.is_missing or error.is_conflict):
                raise

    def _is_ours(self, item: Mapping[str, Any], endpoint: int = 0) -> bool:
        status = item.get("status") or {}
        ours = (status.get("networking") or {}).get("node") == self._node_address
        return ours and endpoint in (0, status.get("id"))


def _told(item: Mapping[str, Any]) -> tuple[list[str], str]:
    """Of the metadata what is ours to say: the owner and the workload."""
    metadata = item["metadata"]
    owners = [owner.get("uid", "") for owner in metadata.get("ownerReferences") or ()]
    return owners, (metadata.get("annotations") or {}).get(ANNOTATION, "")
