"""The ipcache Service: from tables to the map, and when a revision counts as written."""

import asyncio

import numpy as np

from cilia.identity.local import LocalIdentities
from cilia.ipcache import Ipcache, KernelIpcache, address_key
from cilia.model.prefixes import parse_prefixes
from cilia.state.endpoint_slices import EndpointSlice, SliceBackend
from cilia.state.nodes import Node
from cilia.state.remote_endpoints import RemoteEndpoint
from cilia.state.tables import Tables

from .test_sync import content, fake_map, typed


def test_pods_nodes_and_the_api_server_reach_the_map() -> None:
    async def scene() -> None:
        tables, target = Tables(), fake_map()
        kernel = KernelIpcache(typed(target), tables.ipcache)
        stale = KernelIpcache(typed(target), tables.ipcache)
        one = parse_prefixes(["9.9.9.9"]), np.ones(1, np.uint32), np.ones(1, np.uint32)
        stale.assign_prefixes(*one)
        service = Ipcache(
            tables, kernel, LocalIdentities(tables.identities), own_node="n1", dual_stack=True
        )
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            task = group.create_task(service.run(ready))
            await ready.wait()
            pod = RemoteEndpoint("default", "xwing", 4711, "172.30.0.12", ("10.0.2.7", "fd00::7"))
            await tables.remote_endpoints.wait_reconciled(
                tables.remote_endpoints.upsert(pod), by="ipcache"
            )
            assert content(target)[address_key("10.0.2.7")] == (4711, 0)
            tables.nodes.upsert(Node("n2", ("172.30.0.12",), ()))
            tables.endpoint_slices.upsert(
                EndpointSlice(
                    "default",
                    "kubernetes",
                    "kubernetes",
                    (),
                    (SliceBackend(("172.30.0.2", "172.30.0.12")),),
                )
            )
            while content(target).get(address_key("172.30.0.12")) != (7, 0):
                await asyncio.sleep(0)
            outside = content(target)[address_key("172.30.0.2")][0]
            row = tables.identities.get(outside)
            assert row is not None
            assert "reserved:kube-apiserver" in row.labels
            kernel.assign_prefixes(*one)
            assert address_key("9.9.9.9") in content(target)
            kernel.assign_prefixes(*(part[:0] for part in one))
            for table in (tables.endpoints, tables.remote_endpoints, tables.nodes):
                table.mark_synced()
            tables.endpoint_slices.delete(("default", "kubernetes"))
            tables.remote_endpoints.delete(("default", "xwing"))
            while len(content(target)) != 3:
                await asyncio.sleep(0)
            assert outside not in tables.identities
            assert tables.ipcache.synced.is_set()
            task.cancel()

    asyncio.run(scene())
