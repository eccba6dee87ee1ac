"""What the agent writes into objects of the API server."""

import asyncio
from typing import Any, cast

import msgspec

from cilia.agent.endpoint_objects import EndpointObjects, endpoint_object
from cilia.agent.objects import CiliumEndpointItem
from cilia.model.workloads import Workload
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.ports import NamedPort
from cilia.wire.kubernetes import ApiError, KubernetesClient

NODE = "172.30.0.11"
POD = EndpointRow(
    id=7,
    namespace="shop",
    pod="web",
    uid="u1",
    container="c1",
    ifname="lxc1",
    ifindex=9,
    mac="02:00:00:00:00:01",
    host_mac="02:00:00:00:00:02",
    v4="10.0.1.5",
    v6="fd00::5",
    state=EndpointState.READY,
    identity=4711,
    labels=("k8s:app=web",),
    named_ports=(NamedPort("http", "TCP", 80),),
    ingress_enforced=True,
)
COLLECTION = "/apis/cilium.io/v2/namespaces/shop/ciliumendpoints"


class Cluster:
    """Objects by path, with versions; counts writes."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.writes: list[str] = []

    async def get(self, path: str) -> dict[str, Any]:
        if path == "/apis/cilium.io/v2/ciliumendpoints":
            return {"items": list(self.objects.values())}
        if path not in self.objects:
            raise ApiError(404, "NotFound", "not found")
        return self.objects[path]

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self.replace(f"{path}/{body['metadata']['name']}", body)

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.writes.append(path)
        metadata = {"uid": "x", **body["metadata"], "resourceVersion": str(len(self.writes))}
        self.objects[path] = {**body, "metadata": metadata}
        return self.objects[path]

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.writes.append(path)
        self.objects[path.removesuffix("/status")].update(body)
        return self.objects[path.removesuffix("/status")]

    async def delete(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.writes.append(path)
        return self.objects.pop(path)


def client(cluster: Cluster) -> KubernetesClient:
    return cast(KubernetesClient, cluster)


def test_what_we_write_is_what_other_nodes_read() -> None:
    item = msgspec.convert(endpoint_object(POD, NODE), CiliumEndpointItem)
    read = item.row()
    assert read is not None
    assert (read.identity, read.node, read.addresses) == (4711, NODE, ("10.0.1.5", "fd00::5"))
    assert read.named_ports == POD.named_ports


def test_an_endpoint_is_written_once_and_deleted_only_by_its_own_node() -> None:
    async def scene() -> None:
        cluster = Cluster()
        target = EndpointObjects(client(cluster), NODE)
        assert not await target.update([POD])
        assert not await target.update([POD])
        assert len(cluster.writes) == 1
        elsewhere = EndpointObjects(client(cluster), "172.30.0.12")
        await elsewhere.delete([POD])
        await elsewhere.prune([])
        assert f"{COLLECTION}/web" in cluster.objects
        await target.delete([POD])
        assert not cluster.objects

    asyncio.run(scene())


def test_an_object_keeps_its_workload_while_its_pod_is_not_known() -> None:
    async def scene() -> None:
        cluster = Cluster()
        knowing = EndpointObjects(client(cluster), NODE, lambda *_: Workload("Deployment", "web"))
        assert not await knowing.update([POD])
        assert not await EndpointObjects(client(cluster), NODE).update([POD])
        assert len(cluster.writes) == 1
        item = msgspec.convert(cluster.objects[f"{COLLECTION}/web"], CiliumEndpointItem)
        read = item.row()
        assert read is not None
        assert str(read.workload) == "Deployment/web"

    asyncio.run(scene())


def test_pruning_removes_what_no_endpoint_explains_and_nothing_of_a_waiting_pod() -> None:
    async def scene() -> None:
        cluster = Cluster()
        target = EndpointObjects(client(cluster), NODE)
        await target.update([POD, msgspec.structs.replace(POD, pod="old")])
        waiting = msgspec.structs.replace(POD, identity=None)
        await target.prune([waiting])
        assert list(cluster.objects) == [f"{COLLECTION}/web"]

    asyncio.run(scene())
