"""Watches: a stream of changes from a revision on.

Source:
    https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping

import msgspec
from aiohttp import web

from .errors import Json, bad_request, expired
from .negotiation import Shape
from .objects import with_version
from .resources import Resource
from .selectors import Match
from .storage import Change, Store, encode
from .tables import partial_metadata, table

MAX_QUEUED = 20_000
"""Changes that wait for a slow reader before its watch is closed."""
BOOKMARK_SECONDS = 60.0
INITIAL_END = "k8s.io/initial-events-end"


class WatchOptions(msgspec.Struct, frozen=True):
    """What a watch is asked for."""

    revision: int | None
    """Start after this one; None or 0: with the present objects."""
    bookmarks: bool
    initial: bool
    """Whether the present objects come first, closed by a marked bookmark."""
    timeout_s: float


def watch_options(query: Mapping[str, str]) -> WatchOptions:
    """Reads a watch's options.

    Raises:
        StatusError: A number is none (400).
    """
    text = query.get("resourceVersion", "")
    seconds = query.get("timeoutSeconds", "")
    for name, value in (("resourceVersion", text), ("timeoutSeconds", seconds)):
        if value and not (value.isascii() and value.isdecimal() and len(value) < 19):
            raise bad_request(f"{name}: Invalid value: {value!r}: must be a number")
    return WatchOptions(
        revision=int(text) if text else None,
        bookmarks=query.get("allowWatchBookmarks", "") in ("true", "1"),
        initial=query.get("sendInitialEvents", "") in ("true", "1"),
        timeout_s=float(seconds) if seconds and int(seconds) else random.uniform(1800, 3600),
    )


class Watch:
    """One client's watch of one resource."""

    def __init__(
        self,
        store: Store,
        resource: Resource,
        namespace: str,
        matches: list[Match],
        shape: Shape,
        include: str,
    ) -> None:
        self._store = store
        self._resource = resource
        self._namespace = namespace
        self._matches = matches
        self._shape = shape
        self._include = include
        self._header = True
        self._queue: deque[Change] = deque()
        self._wake = asyncio.Event()
        self._overrun = False

    async def serve(self, request: web.BaseRequest, options: WatchOptions) -> web.StreamResponse:
        """Streams until the client goes, the time is over, or the client is too slow.

        Raises:
            StatusError: The start is no longer kept (410).
        """
        if (options.revision or 0) > self._store.revision:
            raise expired(self._store.revision, options.revision or 0)
        first = self._first(options)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        subscription = self._store.subscribe(self._resource.key, self._receive)
        try:
            await response.prepare(request)
            await response.write(b"".join(first))
            async with asyncio.timeout(options.timeout_s):
                await self._pump(response, options)
        except TimeoutError:
            if options.bookmarks:
                await response.write(self._bookmark())
        except ConnectionError:
            return response
        finally:
            self._store.unsubscribe(subscription)
        return response

    async def _pump(self, response: web.StreamResponse, options: WatchOptions) -> None:
        while not self._overrun:
            try:
                async with asyncio.timeout(BOOKMARK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                if options.bookmarks:
                    await response.write(self._bookmark())
                continue
            self._wake.clear()
            lines = []
            while self._queue:
                lines.append(self._line(self._queue.popleft()))
            await response.write(b"".join(lines))

    def _receive(self, change: Change) -> None:
        if self._namespace and change.namespace != self._namespace:
            return
        if len(self._queue) >= MAX_QUEUED:
            self._overrun = True
        else:
            self._queue.append(change)
        self._wake.set()

    def _first(self, options: WatchOptions) -> list[bytes]:
        """The lines before the first change that is yet to come."""
        lines: list[bytes] = []
        if options.initial or not options.revision:
            for item in self._store.items(self._resource.key, self._namespace):
                if self._selected(item):
                    lines.append(self._event("ADDED", item))
            if options.initial and options.bookmarks:
                lines.append(self._bookmark(initial_end=True))
            return lines
        for change in self._store.since(self._resource.key, options.revision):
            if not self._namespace or change.namespace == self._namespace:
                lines.append(self._line(change))
        return lines

    def _selected(self, item: Json) -> bool:
        return all(match(item) for match in self._matches)

    def _line(self, change: Change) -> bytes:
        """A change as this watch's selectors see it: leaving the selection is a deletion."""
        before = change.previous is not None and self._selected(change.previous)
        if change.type == "DELETED":
            known = change.previous if change.previous is not None else change.object
            return self._event("DELETED", change.object) if self._selected(known) else b""
        if self._selected(change.object):
            is_new = change.type == "ADDED" or (self._matches and not before)
            return self._event("ADDED" if is_new else "MODIFIED", change.object)
        if before and change.previous is not None:
            revision = {"resourceVersion": str(change.revision)}
            last = change.previous | {"metadata": change.previous["metadata"] | revision}
            return self._event("DELETED", last)
        if change.type == "MODIFIED" and change.previous is None:
            # What it was is forgotten: the client may know it.
            return self._event("DELETED", change.object)
        return b""

    def _event(self, kind: str, item: Json) -> bytes:
        return (
            encode({"type": kind, "object": self._shaped(with_version(item, self._resource))})
            + b"\n"
        )

    def _shaped(self, item: Json) -> Json:
        if self._shape.kind == "Table":
            metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
            shaped = table(
                self._resource,
                [item],
                metadata=metadata,
                include=self._include,
                header=self._header,
            )
            self._header = False
            return shaped
        if self._shape.kind:
            return partial_metadata(item)
        return item

    def _bookmark(self, *, initial_end: bool = False) -> bytes:
        metadata: Json = {"resourceVersion": str(self._store.revision)}
        if initial_end:
            metadata["annotations"] = {INITIAL_END: "true"}
        mark: Json = {
            "kind": self._resource.kind,
            "apiVersion": self._resource.api_version,
            "metadata": metadata,
        }
        if self._shape.kind == "Table":
            mark = table(self._resource, [], metadata=metadata, header=False) | {
                "rows": [{"cells": [], "object": partial_metadata(mark)}]
            }
        elif self._shape.kind:
            mark = partial_metadata(mark)
        return encode({"type": "BOOKMARK", "object": mark}) + b"\n"
