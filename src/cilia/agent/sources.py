"""The API server to tables: one Service a collection."""

import asyncio
import logging
from collections.abc import Callable, Hashable
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from cilia.agent import objects
from cilia.model.errors import InvalidValue
from cilia.runtime.table import Table
from cilia.state.nodes import Node
from cilia.state.remote_endpoints import RemoteEndpoint
from cilia.state.tables import Tables
from cilia.wire.kubernetes import Changed, Gone, KubernetesClient, Synced

log = logging.getLogger(__name__)

Row = TypeVar("Row")

CILIUM = "/apis/cilium.io/v2"
SCOPES = {
    "ciliumcidrgroups": "CiliumCIDRGroup",
    "ciliumclusterwidenetworkpolicies": "CiliumClusterwideNetworkPolicy",
    "ciliumendpoints": "CiliumEndpoint",
    "ciliumnetworkpolicies": "CiliumNetworkPolicy",
    "endpointslices": "EndpointSlice",
    "namespaces": "Namespace",
    "networkpolicies": "NetworkPolicy",
    "nodes": "Node",
    "pods": "Pod",
    "services": "Service",
}
"""Kinds by the last word of their collection's path."""


class HasMetadata(Protocol):
    """Any object."""

    metadata: objects.Metadata


class Observe(Protocol):
    """Is told of every object that comes."""

    def __call__(self, scope: str, action: str, *, valid: bool, equal: bool) -> None:
        """Takes note of one.

        Args:
            scope: Its kind.
            action: create, update or delete.
            valid: It has the values that its kind must have.
            equal: It changes nothing for us.
        """
        ...


class TableSource(Generic[Row]):
    """Keeps a table as one collection of the API server is.

    Args:
        path: The collection.
        item_type: What its objects are decoded to.
        row_of: An object's row; None: it has none (yet). InvalidValue: logged, no row.
        key_of: The key of the row that an object has or would have.
        field_selector: Only objects whose fields match.
        waits_for: How many sources of this table are still to be heard.

    Attributes:
        observe: Is told of every object.
    """

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        item_type: Any,
        table: Table[Row],
        *,
        row_of: Callable[[Any], Row | None],
        key_of: Callable[[Any], Hashable],
        field_selector: str = "",
        waits_for: "Countdown | None" = None,
    ) -> None:
        self.name = f"source {path}"
        self._client = client
        self._path = path
        self._item_type = item_type
        self._table = table
        self._row_of = row_of
        self._key_of = key_of
        self._selector = field_selector
        self._countdown = waits_for or Countdown(1)
        self._keys: set[Hashable] = set()
        self._heard = False
        self._scope = SCOPES.get(path.rpartition("/")[2], path)
        self.observe: Observe = _ignore

    async def run(self, ready: asyncio.Event) -> None:
        """Follows the collection until cancelled; ready at once."""
        ready.set()
        events = cast(
            Any,
            self._client.list_watch(self._path, self._item_type, field_selector=self._selector),
        )
        async with aclosing(events):
            async for event in events:
                match event:
                    case Synced(items):
                        self._replace(items)
                    case Changed(item):
                        self._put(item)
                    case Gone(item):
                        self.observe(self._scope, "delete", valid=True, equal=False)
                        self._remove(self._key_of(item))

    def _replace(self, items: list[Any]) -> None:
        rows = {self._key_of(item): self._checked(item) for item in items}
        gone = self._keys - {key for key, row in rows.items() if row is not None}
        self._table.upsert(*[row for row in rows.values() if row is not None])
        self._table.delete(*gone)
        self._keys = {key for key, row in rows.items() if row is not None}
        if not self._heard:
            self._heard = True
            if self._countdown.is_last():
                self._table.mark_synced()

    def _put(self, item: Any) -> None:
        row, key = self._checked(item), self._key_of(item)
        if row is None:
            self._remove(key)
        else:
            self._table.upsert(row)
            self._keys.add(key)

    def _remove(self, key: Hashable) -> None:
        self._table.delete(key)
        self._keys.discard(key)

    def _checked(self, item: Any) -> Row | None:
        key = self._key_of(item)
        is_known = key in self._keys
        action = "update" if is_known else "create"
        try:
            row = self._row_of(item)
        except InvalidValue as error:
            self.observe(self._scope, action, valid=False, equal=False)
            log.error(
                "object ignored", extra={"path": self._path, "object": key, "error": str(error)}
            )
            return None
        equal = is_known and row == self._table.get(key)
        self.observe(self._scope, action, valid=True, equal=equal)
        return row


def _ignore(scope: str, action: str, *, valid: bool, equal: bool) -> None:
    """Keeps no count."""


class Countdown:
    """Counts the sources of one table that have not been heard yet."""

    def __init__(self, count: int) -> None:
        self._left = count

    def is_last(self) -> bool:
        """Counts one down; returns whether it was the last."""
        self._left -= 1
        return self._left == 0


def table_sources(client: KubernetesClient, tables: Tables, own: Node) -> list[TableSource[Any]]:
    """Returns the sources of all tables that the API server fills.

    Args:
        own: The node that we run on, as its own network shows it.
    """

    def name_key(item: HasMetadata) -> Hashable:
        return item.metadata.name

    def group_key(item: HasMetadata) -> Hashable:
        return (item.metadata.name, "")

    def full_key(item: HasMetadata) -> Hashable:
        return (item.metadata.namespace, item.metadata.name)

    def source(
        path: str, kind: Any, table: Table[Any], key: Any, selector: str = ""
    ) -> TableSource[Any]:
        return TableSource(
            client,
            path,
            kind,
            table,
            row_of=lambda item: item.row(),
            key_of=key,
            field_selector=selector,
        )

    discovery = "/apis/discovery.k8s.io/v1/endpointslices"
    on_node = f"spec.nodeName={own.name}"
    return [
        source("/api/v1/namespaces", objects.NamespaceItem, tables.namespaces, name_key),
        source("/api/v1/pods", objects.PodItem, tables.pods, full_key, on_node),
        node_source(client, tables, own),
        source("/api/v1/services", objects.ServiceItem, tables.services, full_key),
        source(discovery, objects.EndpointSliceItem, tables.endpoint_slices, full_key),
        source(f"{CILIUM}/ciliumcidrgroups", objects.CidrGroupItem, tables.cidr_groups, group_key),
        remote_source(client, tables, own),
        *policy_sources(client, tables),
    ]


def node_source(client: KubernetesClient, tables: Tables, own: Node) -> TableSource[Any]:
    """Returns the source of nodes; of ours it takes the labels alone."""

    def row(item: objects.NodeItem) -> Node:
        told = item.row()
        if told.name != own.name:
            return told
        return msgspec.structs.replace(own, labels=told.labels)

    return TableSource(
        client,
        "/api/v1/nodes",
        objects.NodeItem,
        tables.nodes,
        row_of=row,
        key_of=lambda item: item.metadata.name,
    )


def remote_source(client: KubernetesClient, tables: Tables, own: Node) -> TableSource[Any]:
    """Returns the source of other nodes' pods."""

    def row(item: objects.CiliumEndpointItem) -> RemoteEndpoint | None:
        told = item.row()
        return None if told is None or told.node in own.addresses else told

    return TableSource(
        client,
        f"{CILIUM}/ciliumendpoints",
        objects.CiliumEndpointItem,
        tables.remote_endpoints,
        row_of=row,
        key_of=lambda item: (item.metadata.namespace, item.metadata.name),
    )


def policy_sources(client: KubernetesClient, tables: Tables) -> list[TableSource[Any]]:
    """Returns the sources of policy objects, of three kinds in one table."""
    countdown = Countdown(3)

    def source(kind: str, path: str) -> TableSource[Any]:
        return TableSource(
            client,
            path,
            dict[str, Any],
            tables.policies,
            row_of=lambda item: objects.policy_row(kind, item),
            key_of=lambda item: (
                kind,
                item["metadata"].get("namespace", ""),
                item["metadata"]["name"],
                "",
            ),
            waits_for=countdown,
        )

    return [
        source("NetworkPolicy", "/apis/networking.k8s.io/v1/networkpolicies"),
        source("CiliumNetworkPolicy", f"{CILIUM}/ciliumnetworkpolicies"),
        source("CiliumClusterwideNetworkPolicy", f"{CILIUM}/ciliumclusterwidenetworkpolicies"),
    ]
