"""Reads this node's rings on a timer and hands the records on."""

import asyncio
import logging
from collections.abc import Callable, Sequence
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

    def peek(self, limit: int | None = None) -> NDArray[Any]:
        """The finished records, oldest first, which stay until `release`."""

    def release(self) -> None:
        """Gives back the room of what was peeked at last."""


class LossAccount(Protocol):
    """What was lost, and how much of it has been told."""

    def fresh(self) -> Sequence[tuple[int, int]]:
        """CPUs that lost records since they were told of, and how many."""

    def tell(self, losses: Sequence[tuple[int, int]]) -> None:
        """Notes that these have been told."""


class Reader:
    """A Service: drains every ring, merged by time, and watches what was lost.

    Records leave their ring once they are kept. A reader that is killed has seen what its
    rings say that readers are done with, no more and no less.

    Args:
        rings: One a CPU, in the CPUs' order.
        losses: The account of what was lost.
        keep: Takes a batch into memory, ordered by time.
        on_records: Takes the same batch for whoever listens.
        on_lost: Takes a CPU and how many more records it lost.
        interval_s: Seconds to wait before looking again when the rings are empty.
    """

    name = "reader"

    def __init__(
        self,
        rings: Sequence[RingReader],
        losses: LossAccount,
        keep: Callable[[Records], None],
        on_records: Callable[[Records], None],
        on_lost: Callable[[int, int], None],
        interval_s: Callable[[], float],
    ) -> None:
        self._rings = rings
        self._losses = losses
        self._keep = keep
        self._on_records = on_records
        self._on_lost = on_lost
        self._interval_s = interval_s
        self._filling = asyncio.Event()

    def hurry(self) -> None:
        """A ring is filling: look now."""
        self._filling.set()

    async def run(self, ready: asyncio.Event) -> None:
        """Reads until cancelled."""
        ready.set()
        while True:
            self._filling.clear()
            if self.drain() < BATCH:
                await pause(self._filling, self._interval_s())
            else:
                await asyncio.sleep(0)  # a flood leaves others their turn

    def drain(self) -> int:
        """Takes what waits in every ring once; how many records that was."""
        batches = [batch for ring in self._rings if len(batch := ring.peek(BATCH))]
        self._report_lost()
        if not batches:
            return 0
        records = batches[0] if len(batches) == 1 else merge(batches, by="time")
        self._keep(records)
        for ring in self._rings:
            ring.release()
        self._on_records(records)
        return len(records)

    def _report_lost(self) -> None:
        losses = self._losses.fresh()
        for cpu, count in losses:
            log.warning("records lost", extra={"cpu": cpu, "count": count})
            self._on_lost(cpu, count)
        if losses:
            self._losses.tell(losses)
