"""The ipcache Service: sources -> claims -> table -> kernel."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from cilia.ipcache import claims
from cilia.ipcache.claims import Claims, Source
from cilia.ipcache.nodes import NodeIdentities
from cilia.ipcache.sync import KernelIpcache
from cilia.model.errors import InvalidValue
from cilia.model.labels import LabelSet, Network
from cilia.runtime.reconciler import Reconciler
from cilia.runtime.table import Changes, Table
from cilia.state.ipcache import IpcacheRow
from cilia.state.tables import Tables

log = logging.getLogger(__name__)

Row = TypeVar("Row")


class OutsideIdentities(Protocol):
    """Gives numbers to places outside the cluster."""

    def hold(self, labels: LabelSet) -> int: ...
    def release(self, labels: LabelSet) -> None: ...


class Ipcache:
    """Keeps the ipcache table and the kernel's map.

    For `endpoints` and `remote_endpoints` it reports `reconciled(by="ipcache")`:
    by then the kernel knows the addresses of every row up to that revision.
    """

    name = "ipcache"

    def __init__(
        self,
        tables: Tables,
        kernel: KernelIpcache,
        outside: OutsideIdentities,
        *,
        own_node: str,
        nodes_by_label: NodeIdentities | None = None,
        dual_stack: bool,
        pod_networks: Sequence[Network] = (),
    ) -> None:
        self._tables = tables
        self._table = tables.ipcache
        self._outside = outside
        self._own_node = own_node
        self._by_label = nodes_by_label
        self._dual_stack = dual_stack
        self._claims = Claims()
        self._nodes: dict[str, list[IpcacheRow]] = {}
        self._api: dict[str, tuple[LabelSet, IpcacheRow]] = {}
        self._settling: dict[str, tuple[int, Table[Any], int]] = {}
        self._unsettled = asyncio.Event()
        self.reconciler = Reconciler("kernel", self._table, kernel)
        self._apply(Source.WORLD, [], claims.world_claims(dual_stack=dual_stack))
        self._apply(Source.NODE, [], claims.pod_network_claims(pod_networks))

    async def run(self, ready: asyncio.Event) -> None:
        """Merges and writes until cancelled; ready after the first write."""
        tables = self._tables
        async with asyncio.TaskGroup() as group:
            start = group.create_task
            start(
                self._follow(tables.endpoints, Source.LOCAL, claims.endpoint_claims),
                name="ipcache endpoints",
            )
            start(
                self._follow(tables.remote_endpoints, Source.CUSTOM_RESOURCE, claims.remote_claims),
                name="ipcache remote endpoints",
            )
            start(self._follow_nodes(), name="ipcache nodes")
            start(self._follow_api(), name="ipcache API server")
            start(self._settle(), name="ipcache settle")
            start(self._sync(), name="ipcache synced")
            start(self.reconciler.run(ready), name="ipcache kernel")

    async def _follow(
        self, table: Table[Row], source: Source, claims_of: Callable[[Row | None], list[IpcacheRow]]
    ) -> None:
        with table.watch() as watch:
            async for batch in watch:
                old: list[IpcacheRow] = []
                new: list[IpcacheRow] = []
                for change in batch.changes:
                    old += _checked(claims_of, change.old)
                    new += _checked(claims_of, change.new)
                self._apply(source, old, new)
                self._queue(table, batch)

    async def _follow_nodes(self) -> None:
        with self._tables.nodes.watch() as watch:
            async for batch in watch:
                self._place_nodes()
                self._queue(self._tables.nodes, batch)

    async def _follow_api(self) -> None:
        slices = self._tables.endpoint_slices
        with slices.watch() as watch:
            async for batch in watch:
                if any(_is_api(change.old) or _is_api(change.new) for change in batch.changes):
                    self._place_nodes()

    def _place_nodes(self) -> None:
        """Works out what nodes and API servers claim; both depend on each other."""
        slices = self._tables.endpoint_slices.by("service", claims.API_SERVICE)
        addresses = claims.api_addresses(slices)
        nodes = self._tables.nodes.snapshot()
        identities: dict[str, int] = {}
        if self._by_label is not None:
            others = [node for node in nodes if node.name != self._own_node]
            identities = self._by_label.place(others, addresses)
        before = [row for rows in self._nodes.values() for row in rows]
        self._nodes = {
            node.name: _checked(
                lambda row: claims.node_claims(
                    row, self._own_node, addresses, identities.get(row.name) if row else None
                ),
                node,
            )
            for node in nodes
        }
        self._apply(Source.NODE, before, [row for rows in self._nodes.values() for row in rows])
        if self._by_label is not None:
            self._by_label.let_go()
        on_nodes = {address for node in nodes for address in node.addresses}
        self._place_api(addresses - on_nodes)

    def _place_api(self, addresses: set[str]) -> None:
        before = {address: held for address, held in self._api.items() if address not in addresses}
        for address in addresses - self._api.keys():
            labels = claims.api_labels(address, dual_stack=self._dual_stack)
            row = IpcacheRow(
                claims.address_key(address),
                self._outside.hold(labels),
                source=Source.KUBE_APISERVER.word,
            )
            self._api[address] = (labels, row)
        now = [row for _, row in self._api.values()]
        old = [row for _, row in before.values()]
        self._apply(Source.KUBE_APISERVER, old, [row for row in now if row not in old])
        for address, (labels, _) in before.items():
            del self._api[address]
            self._outside.release(labels)

    def _apply(self, source: Source, old: Sequence[IpcacheRow], new: Sequence[IpcacheRow]) -> None:
        self._claims.claim(source, old, new)
        touched = dict.fromkeys(row.key for rows in (old, new) for row in rows)
        winners = {key: self._claims.winner(key) for key in touched}
        self._table.upsert(*[row for row in winners.values() if row is not None])
        self._table.delete(*[key for key, row in winners.items() if row is None])

    # What others may rely on

    def _queue(self, table: Table[Any], batch: Changes[Any]) -> None:
        table.reconciled(f"{self.name} merge", batch.revision)
        self._settling[table.name] = (self._table.revision, table, batch.revision)
        self._unsettled.set()

    async def _settle(self) -> None:
        while True:
            await self._unsettled.wait()
            self._unsettled.clear()
            due, self._settling = self._settling, {}
            for ours, table, theirs in due.values():
                await self._table.wait_reconciled(ours, by=self.reconciler.name)
                table.reconciled(self.name, theirs)

    async def _sync(self) -> None:
        tables = self._tables
        for table in (tables.endpoints, tables.remote_endpoints, tables.nodes):
            await table.synced.wait()
            await table.wait_reconciled(table.revision, by=f"{self.name} merge")
        self._table.mark_synced()
        await asyncio.Event().wait()


def _is_api(row: Any) -> bool:
    return row is not None and (row.namespace, row.service) == claims.API_SERVICE


def _checked(
    claims_of: Callable[[Row | None], list[IpcacheRow]], row: Row | None
) -> list[IpcacheRow]:
    """Returns what a row claims; nothing when it writes what is no address."""
    try:
        return claims_of(row)
    except InvalidValue as error:
        log.error("claim ignored", extra={"row": str(row), "error": str(error)})
        return []
