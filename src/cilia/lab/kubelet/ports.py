"""What the kubelet asks of others."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from cilia.wire.kubernetes import Changed, Gone, Synced

Object = dict[str, Any]


class Api(Protocol):
    """The API server; `cilia.wire.kubernetes.KubernetesClient` is one."""

    async def get(self, path: str, **query: str) -> Object:
        """The object or list at `path`."""

    async def create(self, path: str, body: Object, **query: str) -> Object:
        """Creates an object in a collection."""

    async def patch(self, path: str, body: Any, *, kind: str = ..., **query: str) -> Object:
        """Changes an object."""

    async def delete(self, path: str, body: Object | None = None, **query: str) -> Object:
        """Deletes an object."""

    def list_watch(
        self, path: str, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[Synced[Object] | Changed[Object] | Gone[Object]]:
        """A collection's content, then its changes."""
