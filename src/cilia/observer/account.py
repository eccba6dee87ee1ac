"""The account of events: sent = seen + lost + waiting, across every reader that ever was.

    programs ──► event_stats  sent, lost   (the kernel's, by CPU)
            └──► rings        consumed     (the ring's own position: what readers are done with)
    reader ────► <run>/observer.lost       (how much of `lost` has been told)

All of it outlives the observer. A successor goes on where the dead one stopped, and tells
first what was lost meanwhile.
"""

import logging
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from cilia.datapath.maps.metric import EventStats

log = logging.getLogger(__name__)

BOOT = Path("/proc/sys/kernel/random/boot_id")
HEAD = struct.Struct("<16sQ")
"""Of the file: boot and generation. Then a number of 8 bytes for each CPU."""


class EventCounts(msgspec.Struct, frozen=True):
    """What became of the events of each CPU."""

    sent: tuple[int, ...] = ()
    """Events that programs wanted to send."""
    seen: tuple[int, ...] = ()
    """Records that observers took in, this one and those before it."""
    waiting: tuple[int, ...] = ()
    """Records in the rings."""
    lost: tuple[int, ...] = ()
    """Events that found their ring full."""

    @property
    def missing(self) -> int:
        """Events that nobody accounts for; 0 but while events are being sent."""
        return sum(self.sent) - sum(self.seen) - sum(self.waiting) - sum(self.lost)


class CountingRing(Protocol):
    """A ring that knows its place."""

    @property
    def consumed(self) -> int:
        """Records that readers are done with."""

    @property
    def waiting(self) -> int:
        """Records that wait."""


class EventAccount:
    """What was sent, seen and lost, and how much of the loss has been told.

    Args:
        path: Where it is kept what has been told.
        stats: The kernel's counters.
        generation: Another number for other counters: the id of their map.
        rings: By CPU.
    """

    def __init__(
        self,
        path: Path,
        stats: Callable[[], EventStats],
        generation: int,
        rings: Mapping[int, CountingRing],
    ) -> None:
        self._path = path
        self._stats = stats
        self._rings = rings
        self._mark = HEAD.pack(bytes.fromhex(BOOT.read_text().strip().replace("-", "")), generation)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._told = self._read(len(stats().lost))

    @property
    def epoch(self) -> str:
        """Another text for other counters."""
        return self._mark.hex()

    @property
    def told(self) -> int:
        """Losses that readers were told of, by this observer and those before it."""
        return int(self._told.sum())

    def fresh(self) -> Sequence[tuple[int, int]]:
        """CPUs that lost records since they were told of, and how many."""
        lost = self._stats().lost
        return [
            (cpu, n - int(self._told[cpu])) for cpu, n in enumerate(lost) if n > self._told[cpu]
        ]

    def tell(self, losses: Sequence[tuple[int, int]]) -> None:
        """Notes that these have been told: no successor tells them again."""
        for cpu, count in losses:
            self._told[cpu] += np.uint64(count)
        os.pwrite(self._file, self._mark + self._told.tobytes(), 0)

    def counts(self) -> EventCounts:
        """The account now. Events that are sent meanwhile may be in one number and not in
        another.
        """
        before = {cpu: (ring.consumed, ring.waiting) for cpu, ring in self._rings.items()}
        stats = self._stats()
        none = (0, 0)
        seen, waiting = zip(*(before.get(cpu, none) for cpu in range(len(stats.sent))), strict=True)
        return EventCounts(stats.sent, seen, waiting, stats.lost)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._file)

    def _read(self, cpus: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        """What earlier readers told, by CPU; nothing, if that was of other counters."""
        size = len(self._mark) + cpus * 8
        found = os.pread(self._file, size, 0)
        if len(found) != size or not found.startswith(self._mark):
            return np.zeros(cpus, np.uint64)
        return np.frombuffer(found, np.uint64, offset=len(self._mark)).copy()
