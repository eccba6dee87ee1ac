"""Observers and their certificates, made up for one test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np

from cilia.hubble.peers import Peer
from cilia.hubble.server.listener import HubbleApi, HubbleSocket
from cilia.hubble.store import FlowStore
from cilia.hubble.tls import TlsFiles
from cilia.lab.apiserver.certificates import ensure_authority, ensure_peer
from cilia.runtime.services import Service
from unit.hubble.made_records import RECORD, KnownNames, records

DEADLINE_S = 60


def store_of(*times_ns: int, capacity: int = 64) -> FlowStore:
    """A store with a flow at each of these times, all shown."""
    store = FlowStore(RECORD, capacity)
    add_flows(store, *times_ns)
    return store


def add_flows(store: FlowStore, *times_ns: int) -> None:
    """Adds a flow at each of these times and shows it."""
    if times_ns:
        store.add(records(len(times_ns), time=np.array(times_ns, "u8")), 0)
        store.parties.join(KnownNames())
        store.show(store.total)


def api_of(store: FlowStore, path: Path, node: str = "node-1") -> HubbleApi:
    """What an observer of that node would answer."""
    own = Peer(node, f"unix://{path}")
    return HubbleApi(store, KnownNames(), f"default/{node}", "0.1.0", own)


@contextlib.asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """Services that run meanwhile."""
    async with asyncio.TaskGroup() as group:
        tasks = []
        for service in services:
            ready = asyncio.Event()
            tasks.append(group.create_task(service.run(ready), name=service.name))
            await ready.wait()
        try:
            yield
        finally:
            for task in reversed(tasks):
                task.cancel()


@contextlib.asynccontextmanager
async def observer(path: Path, store: FlowStore, node: str = "node-1") -> AsyncIterator[HubbleApi]:
    """An observer on a unix socket."""
    api = api_of(store, path, node)
    async with running(HubbleSocket(path, api.server)):
        yield api


def certificates(folder: Path, stem: str, names: Sequence[str]) -> TlsFiles:
    """A certificate for these names, from the authority in that folder."""
    ensure_authority(folder)
    ensure_peer(folder, stem, names)
    return TlsFiles(
        str(folder / f"{stem}.crt"), str(folder / f"{stem}.key"), (str(folder / "ca.crt"),)
    )
