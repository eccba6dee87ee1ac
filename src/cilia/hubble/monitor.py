"""The monitor: subscribers with filters, each with a bounded queue of its own.

A slow subscriber loses events, is told how many, and slows nobody.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.hubble.events import DROP, TYPE_NAMES

Json = dict[str, Any]

InterfaceName = Callable[[int], str]

QUEUE_EVENTS = 16_384


AGENT = "agent"
SILENT = ("capture", "debug", "l7")
"""Types that the monitor's contract names, and nothing reports yet."""
TYPES = tuple(sorted((AGENT, *SILENT, *TYPE_NAMES.values())))


class Filters(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What one subscriber wants; an empty field wants all."""

    types: tuple[str, ...] = ()
    from_: tuple[int, ...] = ()
    to: tuple[int, ...] = ()
    related: tuple[int, ...] = ()
    interfaces: tuple[str, ...] = ()
    """Names or numbers of devices."""
    raw: bool = False
    """Add the record's bytes as `raw` and those of a dropped packet as `packet`, in hexadecimal."""

    def __post_init__(self) -> None:
        unknown = set(self.types) - set(TYPES)
        if unknown:
            raise ValueError(f"types: {', '.join(sorted(unknown))} is none of {', '.join(TYPES)}")

    @property
    def wants_agent(self) -> bool:
        """Whether events that no packet made are wanted."""
        of_packets = self.from_ or self.to or self.related or self.interfaces
        return not of_packets and (not self.types or AGENT in self.types)

    def matching(
        self, records: NDArray[np.void], interface_name: InterfaceName
    ) -> NDArray[np.void]:
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
        if self.interfaces:
            seen = np.unique(records["ifindex"]).tolist()
            wanted = [
                index
                for index in seen
                if index and {str(index), interface_name(index)} & set(self.interfaces)
            ]
            keep &= np.isin(records["ifindex"], wanted)
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

    def miss(self, count: int) -> None:
        """Notes events that never came here."""
        self._lost += count
        self._wake.set()

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


class Packets(Protocol):
    """Where the bytes of dropped packets are."""

    def want(self, wanted: bool) -> None:
        """Says whether anybody asks for them."""

    def of(self, record: np.void) -> bytes:
        """What the packet of an event began with; empty where that is not known."""


class Monitor:
    """Fans events out to subscribers; costs nothing while there is none.

    Args:
        greeting: What a subscriber is told first.
        interface_name: The name of a device by its index; empty when it is gone.
        layout: dtype of a record as programs write it; arrays on the way here may have
            turned its bytes around.
        packets: Of dropped packets, if they can be had.
    """

    def __init__(
        self,
        greeting: Json,
        interface_name: InterfaceName = lambda index: "",
        layout: np.dtype[Any] | None = None,
        packets: Packets | None = None,
    ) -> None:
        self._greeting = greeting
        self._layout = layout
        self._packets = packets
        self._interface_name = interface_name
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
            filters = next(iter(self._subscribers)).filters
            return filters.matching(records, self._interface_name)
        return records

    def publish(self, records: NDArray[np.void], render: Callable[[np.void], Json]) -> None:
        """Sends each subscriber the events of `records` that it wants."""
        for subscriber in self._subscribers:
            filters = subscriber.filters
            wanted = filters.matching(records, self._interface_name)
            self.lost += subscriber.offer(
                self._event(record, render, filters.raw) for record in wanted
            )

    def miss(self, count: int) -> None:
        """Tells everybody that events found no room on their way here."""
        self.lost += count
        for subscriber in self._subscribers:
            subscriber.miss(count)

    def announce(self, event: Json) -> None:
        """Sends an event of the agent to whoever wants such."""
        for subscriber in self._subscribers:
            if subscriber.filters.wants_agent:
                self.lost += subscriber.offer([event])

    def _event(self, record: np.void, render: Callable[[np.void], Json], raw: bool) -> Json:
        event = render(record)
        if name := self._interface_name(int(record["ifindex"])):
            event["interface"] = name
        if raw:
            event["raw"] = np.asarray(record).astype(self._layout or record.dtype).tobytes().hex()
            if self._packets and record["type"] == DROP:
                event["packet"] = self._packets.of(record).hex()
        return event

    def report_lost(self, cpu: int, lost: int) -> None:
        """Tells everybody that records found their ring full."""
        for subscriber in self._subscribers:
            event = {"type": "lost", "source": "ring", "cpu": cpu, "lost": lost}
            if subscriber.offer([event]):  # it has counted one, the message
                subscriber.miss(lost - 1)

    def _ask_for_packets(self) -> None:
        if self._packets:
            self._packets.want(any(one.filters.raw for one in self._subscribers))

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
        self._ask_for_packets()
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
            self._ask_for_packets()
            writer.close()


async def _send(subscriber: Subscriber, writer: asyncio.StreamWriter) -> None:
    """Moves a subscriber's events to its client, as fast as that takes them."""
    while True:
        await writer.drain()
        writer.write(await subscriber.take())
