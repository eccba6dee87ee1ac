"""Reads this node's rings on a timer and hands the records on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cilia.kernel.rings import merge
from cilia.runtime.services import pause

log = logging.getLogger(__name__)

Records = NDArray[np.void]

BATCH = 4_096
"""Records taken from one ring at a time, so that one busy CPU does not starve the rest."""


class RingReader(Protocol):
    """The reading end of one CPU's ring."""

    def read(self, limit: int | None = None) -> NDArray[Any]:
        """The finished records, oldest first; empty when there are none."""


class Reader:
    """A Service: drains every ring, merged by time, and watches what was lost.

    Args:
        rings: One a CPU, in the CPUs' order.
        lost: Gives the records lost so far, one number a CPU.
        on_records: Takes a batch, ordered by time.
        on_lost: Takes a CPU and how many more records it lost.
        interval_s: Seconds to wait before looking again when the rings are empty.
    """

    name = "reader"

    def __init__(
        self,
        rings: Sequence[RingReader],
        lost: Callable[[], Sequence[int]],
        on_records: Callable[[Records], Awaitable[None]],
        on_lost: Callable[[int, int], None],
        interval_s: Callable[[], float],
    ) -> None:
        self._rings = rings
        self._lost = lost
        self._on_records = on_records
        self._on_lost = on_lost
        self._interval_s = interval_s
        self._lost_before = list(lost())
        self._filling = asyncio.Event()

    def hurry(self) -> None:
        """A ring is filling: look now."""
        self._filling.set()

    async def run(self, ready: asyncio.Event) -> None:
        """Reads until cancelled."""
        ready.set()
        while True:
            self._filling.clear()
            if await self.drain() < BATCH:
                await pause(self._filling, self._interval_s())

    async def drain(self) -> int:
        """Takes what waits in every ring once; how many records that was."""
        batches = [batch for ring in self._rings if len(batch := ring.read(BATCH))]
        self._report_lost()
        if not batches:
            return 0
        records = batches[0] if len(batches) == 1 else merge(batches, by="time")
        await self._on_records(records)
        return len(records)

    def _report_lost(self) -> None:
        now = list(self._lost())
        for cpu, (before, after) in enumerate(zip(self._lost_before, now, strict=True)):
            if after > before:
                log.warning("records lost", extra={"cpu": cpu, "count": after - before})
                self._on_lost(cpu, after - before)
        self._lost_before = now
