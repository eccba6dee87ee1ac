"""List, then watch, then resume: one collection of the API server as a stream.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from cilia.model.backoff import Backoff
from cilia.model.errors import CiliaError

log = logging.getLogger(__name__)

Item = TypeVar("Item")

PAGE = 500
"""Items asked for in one list call."""
WATCH_S = 300
"""Seconds after which we ask the server to end a watch, so that none grows stale."""
QUICK_S = 5
"""A watch that ends sooner than this counts as a failure, for the pause before the next."""
IDLE_S = WATCH_S * 2 + 30
"""Silence after which a watch counts as dead, though TCP says that it lives."""


class Synced(msgspec.Struct, Generic[Item], frozen=True):
    """The whole collection, as one list call saw it."""

    items: list[Item]


class Changed(msgspec.Struct, Generic[Item], frozen=True):
    """An object was created or changed; it now looks like this."""

    item: Item


class Gone(msgspec.Struct, Generic[Item], frozen=True):
    """An object was deleted; this is its last state."""

    item: Item


class Expired(CiliaError):
    """The server no longer knows the resourceVersion that we ask it to go on from."""


class Source(Protocol):
    """What a list+watch asks of the client."""

    async def open_list(self, path: str, query: Mapping[str, str]) -> bytes: ...
    def open_watch(
        self, path: str, query: Mapping[str, str], idle_s: float
    ) -> AsyncGenerator[bytes, None]: ...


class _Metadata(msgspec.Struct):
    resourceVersion: str = ""
    name: str = ""
    namespace: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _Metadata
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    code: int = 0
    message: str = ""


class ListWatch(Generic[Item]):
    """The state of one list+watch; see `KubernetesClient.list_watch`."""

    def __init__(
        self,
        source: Source,
        path: str,
        item_type: type[Item],
        label_selector: str = "",
        field_selector: str = "",
        *,
        backoff: Backoff | None = None,
    ) -> None:
        self._source = source
        self._path = path
        self._selectors = {}
        if label_selector:
            self._selectors["labelSelector"] = label_selector
        if field_selector:
            self._selectors["fieldSelector"] = field_selector
        self._items: msgspec.json.Decoder[Item] = msgspec.json.Decoder(item_type)
        self._pages = msgspec.json.Decoder(_Page)
        self._events = msgspec.json.Decoder(_Event)
        self._objects = msgspec.json.Decoder(_Object)
        self._version = ""
        self._backoff = backoff or Backoff()

    async def run(self) -> AsyncIterator[Synced[Item] | Changed[Item] | Gone[Item]]:
        """Yields the collection for ever."""
        clock = asyncio.get_running_loop()
        while True:
            try:
                if not self._version:
                    yield Synced(await self._list())
                    self._backoff.reset()
                began = clock.time()
                async with aclosing(self._watch()) as events:
                    async for event in events:
                        yield event
                # A server that ends each watch at once must not be asked in a tight loop.
                if clock.time() - began < QUICK_S:
                    await asyncio.sleep(self._backoff.next_s())
                else:
                    self._backoff.reset()
            except Expired as error:
                log.info("list again", extra={"path": self._path, "why": str(error)})
                self._version = ""
                await asyncio.sleep(self._backoff.next_s())
            except CiliaError as error:
                if getattr(error, "status", 0) == 410:
                    self._version = ""
                level = logging.DEBUG if self._backoff.failures else logging.WARNING
                log.log(level, "watch broke", extra={"path": self._path, "error": str(error)})
                await asyncio.sleep(self._backoff.next_s())

    async def _list(self) -> list[Item]:
        items: list[Item] = []
        following = ""
        while True:
            query = {"limit": str(PAGE), **self._selectors}
            if following:
                query["continue"] = following
            payload = await self._source.open_list(self._path, query)
            page = self._decoded(self._pages, payload)
            for raw in page.items or ():
                items.extend(self._decoded_item(raw))
            following = page.metadata.continue_
            if not following:
                self._version = page.metadata.resourceVersion or "0"
                return items

    async def _watch(self) -> AsyncGenerator[Changed[Item] | Gone[Item], None]:
        query = {
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S + random.randrange(WATCH_S)),
            **self._selectors,
        }
        async with aclosing(self._source.open_watch(self._path, query, IDLE_S)) as lines:
            async for line in lines:
                event = self._decoded(self._events, line)
                facts = self._decoded(self._objects, event.object)
                if event.type == "ERROR":
                    if facts.code == 410:
                        raise Expired(facts.message)
                    raise CiliaError(f"watch {self._path}: {facts.message}")
                if event.type != "BOOKMARK":
                    for item in self._decoded_item(event.object):
                        yield Gone(item) if event.type == "DELETED" else Changed(item)
                # Only now: an item that was not handed on must come again after a break.
                self._version = facts.metadata.resourceVersion or self._version

    def _decoded(self, decoder: "msgspec.json.Decoder[Any]", data: bytes | msgspec.Raw) -> Any:
        try:
            return decoder.decode(data)
        except msgspec.DecodeError as error:
            raise CiliaError(f"watch {self._path}: the server sent no JSON: {error}") from error

    def _decoded_item(self, raw: msgspec.Raw) -> tuple[Item, ...]:
        """Returns the item; nothing for one that is not shaped as its kind must be."""
        try:
            return (self._items.decode(raw),)
        except msgspec.ValidationError as error:
            facts = self._objects.decode(raw).metadata
            log.error(
                "object ignored: it does not have the shape of its kind",
                extra={
                    "path": self._path,
                    "object": f"{facts.namespace}/{facts.name}",
                    "error": str(error),
                },
            )
            return ()
