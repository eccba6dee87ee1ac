"""From full tables to full kernel maps: 10,000 services, 100,000 ipcache rows.

Baseline of the same run: the system calls alone, a batch of rows that are encoded already.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

import numpy as np

from bench.report import save, summary
from cilia.agent.program import YOUNG_OBJECTS
from cilia.datapath import layout
from cilia.datapath.maps.ipcache import IpcacheMap
from cilia.datapath.maps.service import ServiceMap
from cilia.ipcache import KernelIpcache
from cilia.ipcache.claims import Source, address_key
from cilia.kernel.maps import Map, MapKind
from cilia.service import KernelServices, Services
from cilia.state.endpoint_slices import EndpointSlice, SliceBackend, SlicePort
from cilia.state.ipcache import IpcacheRow
from cilia.state.services import Service, ServicePort
from cilia.state.tables import Tables

SERVICES, BACKENDS, PREFIXES = 10_000, 2, 100_000
ROUNDS = 5

Times = tuple[float, float, float]
"""Seconds: in all, of processor time, and of the system calls alone."""


def make(name: str, kind: MapKind, rows: int, flags: int = 0) -> Map:
    """An empty map as the programs declare it."""
    key, value = layout.map_types(name)
    return Map.create(kind, name, key, value, rows, flags)


def address(number: int, net: int) -> str:
    """The address of that number in net.0.0.0/8."""
    return f"{net}.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def service_rows() -> tuple[list[Service], list[EndpointSlice]]:
    """Services with some backends each."""
    services, slices = [], []
    for number in range(SERVICES):
        name = f"service-{number}"
        port = ServicePort("http", "TCP", 80)
        services.append(Service("default", name, "ClusterIP", (address(number, 11),), (port,)))
        backends = tuple(
            SliceBackend((address(number * BACKENDS + one, 10),)) for one in range(BACKENDS)
        )
        slices.append(
            EndpointSlice("default", name, name, (SlicePort("http", "TCP", 8080),), backends)
        )
    return services, slices


async def services() -> Times:
    """From tables to maps."""
    tables = Tables()
    rows, slices = service_rows()
    tables.services.upsert(*rows)
    tables.endpoint_slices.upsert(*slices)
    tables.services.mark_synced()
    tables.endpoint_slices.mark_synced()
    size = SERVICES * (BACKENDS + 1)
    with (
        make("service", MapKind.HASH, 2 * size) as service,
        make("backend", MapKind.HASH, 2 * size) as backend,
    ):
        maps = ServiceMap({"service": service, "backend": backend})
        room = Services(tables, KernelServices(maps))
        began, worked = time.perf_counter(), time.process_time()
        task = asyncio.create_task(room.run(asyncio.Event()))
        while len(tables.frontends) < SERVICES:
            await asyncio.sleep(0)
        await tables.frontends.wait_reconciled(tables.frontends.revision, by="kernel")
        took, work = time.perf_counter() - began, time.process_time() - worked
        task.cancel()
        assert service.count() == size
        return took, work, again(service)


async def ipcache() -> Times:
    """From the table to the map."""
    tables = Tables()
    word = Source.CUSTOM_RESOURCE.word
    rows = [
        IpcacheRow(address_key(address(number, 10)), number + 256, "", word)
        for number in range(PREFIXES)
    ]
    with make("ipcache", MapKind.LPM_TRIE, 512_000, 1) as one:
        target = KernelIpcache(IpcacheMap({"ipcache": one}), tables.ipcache)
        began, worked = time.perf_counter(), time.process_time()
        await target.update(rows)
        took, work = time.perf_counter() - began, time.process_time() - worked
        assert one.count() == PREFIXES
        return took, work, again(one)


def again(one: Map) -> float:
    """Seconds to write a map's own rows once more."""
    keys, values = one.entries()
    keys, values = np.ascontiguousarray(keys), np.ascontiguousarray(values)
    began = time.perf_counter()
    one.put(keys, values)
    return time.perf_counter() - began


CASES: dict[str, Callable[[], Awaitable[Times]]] = {
    f"{SERVICES} services": services,
    f"{PREFIXES} ipcache rows": ipcache,
}


def main() -> None:
    """Interleaved rounds; seconds."""

    async def run() -> dict[str, list[Times]]:
        found: dict[str, list[Times]] = {name: [] for name in CASES}
        for _ in range(ROUNDS):
            for name, case in CASES.items():
                gc.collect()
                gc.freeze()
                gc.set_threshold(YOUNG_OBJECTS, 20, 20)
                found[name].append(await case())
        return found

    rows: list[dict[str, object]] = []
    for name, rounds in asyncio.run(run()).items():
        took, work, bare = (summary(column) for column in zip(*rounds, strict=True))
        rows.append({"what": name, "seconds": took, "cpu": work, "system calls alone": bare})
        print(
            f"{name:<22} {took['median']:.3f} s   of processor {work['median']:.3f} s   "
            f"system calls alone {bare['median']:.3f} s"
        )
    save("tables", "python -m bench tables", rows)
