"""The monitor: subscribers with filters, each with a bounded queue of its own.

A slow subscriber loses events, is told how many, and slows nobody.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.hubble.events import TYPE_NAMES

Json = dict[str, Any]

QUEUE_EVENTS = 16_384


class Filters(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What one subscriber wants; an empty field wants all."""

    types: tuple[str, ...] = ()
    from_: tuple[int, ...] = ()
    to: tuple[int, ...] = ()
    related: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.types) - set(TYPE_NAMES.values())
        if unknown:
            raise ValueError(
                f"types: {', '.join(sorted(unknown))} is none of {', '.join(TYPE_NAMES.values())}"
            )

    def matching(self, records: NDArray[np.void]) -> NDArray[np.void]:
        """The records that pass: fields AND, the values of one field OR."""
        keep = np.ones(len(records), dtype=bool)
        if self.types:
            codes = [code for code, name in TYPE_NAMES.items() if name in self.types]
            keep &= np.isin(records["type"], codes)
        if self.from_:
            keep &= np.isin(records["source_endpoint"], self.from_)
        if self.to:
            keep &= np.isin(records["destination_endpoint"], self.to)
        if self.related:
            keep &= np.isin(records["source_endpoint"], self.related) | np.isin(
                records["destination_endpoint"], self.related
            )
        return records[keep]


class Subscriber:
    """One open stream; holds encoded lines until its client takes them."""

    def __init__(self, filters: Filters, limit: int = QUEUE_EVENTS) -> None:
        self.filters = filters
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._wake = asyncio.Event()

    def offer(self, events: Iterable[Json]) -> int:
        """Queues events; what does not fit is counted and reported later. How many that is."""
        lost = 0
        for event in events:
            if len(self._lines) >= self._limit:
                lost += 1
            else:
                self._lines.append(json.dumps(event).encode() + b"\n")
        self._lost += lost
        self._wake.set()
        return lost

    async def take(self) -> bytes:
        """Waits for something to send; all of it at once, lines complete."""
        while not self._lines and not self._lost:
            self._wake.clear()
            await self._wake.wait()
        data = b"".join(self._lines)
        self._lines.clear()
        if self._lost:
            event = {"type": "lost", "source": "monitor queue", "cpu": 0, "lost": self._lost}
            data += json.dumps(event).encode() + b"\n"
            self._lost = 0
        return data


class Monitor:
    """Fans records out to subscribers; costs nothing while there is none."""

    def __init__(self, greeting: Json) -> None:
        self._greeting = greeting
        self._subscribers: set[Subscriber] = set()
        self.lost = 0
        """Events that subscribers were too slow for; of all of them together."""

    @property
    def is_watched(self) -> bool:
        """Whether anybody listens."""
        return bool(self._subscribers)

    def wanted(self, records: NDArray[np.void]) -> NDArray[np.void]:
        """The records that some subscriber may want; all of them where several listen."""
        if len(self._subscribers) == 1:
            return next(iter(self._subscribers)).filters.matching(records)
        return records

    def publish(self, records: NDArray[np.void], render: Callable[[np.void], Json]) -> None:
        """Sends each subscriber the events of `records` that it wants."""
        for subscriber in self._subscribers:
            wanted = subscriber.filters.matching(records)
            self.lost += subscriber.offer(render(record) for record in wanted)

    def report_lost(self, cpu: int, lost: int) -> None:
        """Tells everybody that records found their ring full."""
        for subscriber in self._subscribers:
            subscriber.offer([{"type": "lost", "source": "ring", "cpu": cpu, "lost": lost}])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its filters to its end."""
        try:
            filters = msgspec.json.decode(await reader.readline() or b"{}", type=Filters)
        except (msgspec.DecodeError, ValueError) as error:
            writer.write(json.dumps({"error": f"filters: {error}"}).encode() + b"\n")
            writer.close()
            return
        subscriber = Subscriber(filters)
        self._subscribers.add(subscriber)
        writer.write(json.dumps(self._greeting).encode() + b"\n")
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(_send(subscriber, writer))
                await reader.read()
                sending.cancel()
        except* ConnectionError:
            pass
        finally:
            self._subscribers.discard(subscriber)
            writer.close()


async def _send(subscriber: Subscriber, writer: asyncio.StreamWriter) -> None:
    """Moves a subscriber's events to its client, as fast as that takes them."""
    while True:
        await writer.drain()
        writer.write(await subscriber.take())
