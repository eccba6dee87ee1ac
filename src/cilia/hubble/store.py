"""Flows in memory: a ring of columns, fed by batches, read by sequence number."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.hubble.columns import DERIVED, derived_columns
from cilia.hubble.heard import HeardNames
from cilia.hubble.parties import SIDES, Parties
from cilia.hubble.services import Services

CAPACITY = 1_000_000
PIECE = 65_536
"""Rows that are looked at in one go: some milliseconds for the dearest filter."""
LOSSES = 1_024

RECORDED = (
    "source", "destination", "source_port", "destination_port", "protocol", "type", "subtype",
    "source_identity", "destination_identity", "source_endpoint", "destination_endpoint",
    "provenance", "length", "ifindex", "cookie", "hash", "tcp_flags", "icmp_type", "icmp_code",
    "reason", "match", "direction", "proxy_port", "line", "file", "cgroup",
)  # fmt: skip
"""Fields of `struct event_record` that are kept as they are."""


class Loss(msgspec.Struct, frozen=True):
    """Records that found their ring full."""

    serial: int
    """Counts losses."""
    position: int
    """The sequence number of the first flow that was seen after it."""
    time: int
    """Unix time in ns."""
    cpu: int
    count: int


class Rows:
    """Some flows in a row, oldest first; columns are views, valid until the next `add`."""

    def __init__(self, columns: dict[str, NDArray[Any]], first: int, place: slice) -> None:
        self.first = first
        """Sequence number of row 0."""
        self._columns = columns
        self._place = place

    def __len__(self) -> int:
        return self._place.stop - self._place.start  # type: ignore[no-any-return]  # numpy says Any

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name][self._place]


class FlowStore:
    """The newest flows of one node.

    Memory is taken as flows come, about 120 bytes each, and never beyond the capacity.

    Args:
        layout: dtype of the records that `add` takes.
        capacity: How many flows it holds.
        interface_name: Gives the name of a device by its index; empty when it is gone.
    """

    def __init__(
        self,
        layout: np.dtype[Any],
        capacity: int = CAPACITY,
        interface_name: Callable[[int], str] = lambda index: "",
    ) -> None:
        self.capacity = capacity
        self.interfaces: dict[int, str] = {0: ""}
        """Names of the devices that were seen, as they were called then."""
        self._interface_name = interface_name
        self.parties = Parties()
        self.services = Services()
        self.heard = HeardNames()
        """DNS names; empty as long as nobody hears any."""
        self.node_labels: tuple[str, ...] = ()
        """Of the node that saw all this, `key=value` each, as known now."""
        self.instance = secrets.token_bytes(8)
        """Tells the flows of this store from those of its predecessors."""
        self.total = 0
        """Flows taken in so far: the sequence number of the next one."""
        self.shown = 0
        """Readers see flows before this one: the names of later ones are being asked for."""
        self.followers = 0
        """Readers that wait for what comes."""
        self.lost = 0
        """Records that were lost before they came here."""
        self.overrun = 0
        """Flows that were gone before a reader of them came to them; of all readers together."""
        self.loss_serial = 0
        """The serial of the next loss."""
        self.losses: deque[Loss] = deque(maxlen=LOSSES)
        """The latest losses, oldest first."""
        self._provenances = {0}
        self._fresh: list[NDArray[np.void]] = []
        self._news = asyncio.Event()
        kinds = {name: layout[name].newbyteorder("=") for name in RECORDED} | DERIVED
        kinds |= {f"{side}_party": np.dtype("u4") for side in SIDES} | {"time": np.dtype("i8")}
        kinds["service"] = np.dtype("u4")
        self._columns = {name: np.empty(capacity, kind) for name, kind in kinds.items()}

    @property
    def oldest(self) -> int:
        """The sequence number of the oldest flow that is still here."""
        return max(0, self.total - self.capacity)

    def __len__(self) -> int:
        return self.total - self.oldest

    def add(self, records: NDArray[np.void], offset_ns: int) -> None:
        """Takes a batch in, in the order of its rows.

        Args:
            records: Shape (n,), `struct event_record`.
            offset_ns: What makes its time Unix time.
        """
        if len(records) > self.capacity:  # what would be overwritten at once
            self.total += len(records) - self.capacity
            records = records[-self.capacity :]
        columns = derived_columns(records) | {name: records[name] for name in RECORDED}
        columns["time"] = records["time"].astype("i8") + offset_ns
        for side in SIDES:
            columns[f"{side}_party"] = self.parties.numbers(records, side)
        columns["service"] = self.services.numbers(records)
        self._note_provenances(records)
        for index in set(np.unique(records["ifindex"]).tolist()) - self.interfaces.keys():
            self.interfaces[index] = self._interface_name(index)
        start = self.total % self.capacity
        head = min(len(records), self.capacity - start)
        for name, values in columns.items():
            column = self._columns[name]
            column[start : start + head] = values[:head]
            column[: len(records) - head] = values[head:]
        self.total += len(records)

    def report_lost(self, time_ns: int, cpu: int, count: int) -> None:
        """Notes records that were lost now, before whatever is added next."""
        self.lost += count
        self.losses.append(Loss(self.loss_serial, self.total, time_ns, cpu, count))
        self.loss_serial += 1
        self._news.set()

    def take_fresh(self) -> NDArray[np.void]:
        """Records with parties or rules that were not seen before the last call."""
        fresh = self.parties.take_fresh() + self.services.take_fresh() + self._fresh
        self._fresh = []
        return np.concatenate(fresh) if fresh else np.empty(0, "V1")

    def show(self, total: int) -> None:
        """Lets readers see the flows before a sequence number."""
        self.shown = max(self.shown, total)
        self._news.set()

    async def wait(self, position: int, serial: int) -> None:
        """Returns when there is a flow at `position` to see, or a loss before it to tell.

        Args:
            position: The sequence number of the first flow that was not seen.
            serial: That of the first loss that was not told.
        """
        self.followers += 1
        try:
            while self.shown <= position and not self._has_loss(position, serial):
                self._news.clear()
                await self._news.wait()
        finally:
            self.followers -= 1

    def _has_loss(self, position: int, serial: int) -> bool:
        first = next((loss for loss in self.losses if loss.serial >= serial), None)
        return first is not None and first.position <= position

    def _note_provenances(self, records: NDArray[np.void]) -> None:
        unseen = set(np.unique(records["provenance"]).tolist()) - self._provenances
        for number in unseen:
            self._provenances.add(number)
            self._fresh.append(records[records["provenance"] == number][:1])

    def row(self, number: int) -> Rows:
        """The flow with a sequence number, as one row.

        Raises:
            LookupError: It is not here any more, or not yet.
        """
        if not self.oldest <= number < self.total:
            raise LookupError(f"flow {number} is not in {self.oldest} to {self.total}")
        return next(self.pieces(number, number + 1))

    def pieces(self, start: int, stop: int) -> Iterator[Rows]:
        """The flows from `start` up to but not with `stop`, in runs of at most `PIECE`."""
        for first, last in self._runs(start, stop):
            yield self._rows(first, last)

    def pieces_back(self, start: int, stop: int, piece: int = PIECE) -> Iterator[Rows]:
        """The same, the newest first, in runs of at most `piece`."""
        for first, last in reversed(list(self._runs(start, stop, piece))):
            yield self._rows(first, last)

    def _runs(self, start: int, stop: int, piece: int = PIECE) -> Iterator[tuple[int, int]]:
        start, stop = max(start, self.oldest), min(stop, self.total)
        while start < stop:
            end = min(stop, start + piece, start - start % self.capacity + self.capacity)
            yield start, end
            start = end

    def _rows(self, first: int, last: int) -> Rows:
        place = first % self.capacity
        return Rows(self._columns, first, slice(place, place + last - first))
