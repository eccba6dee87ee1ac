"""Looks at the kernel's counters of rules, one look at a time, and keeps the account.

The meaning of a number is kept within a second of its making, for the kernel may count
under it when the agent that knew it is gone.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from cilia.agent.counters import Rows
from cilia.agent.hits_file import HitsFile
from cilia.agent.metrics.census import Census, census_of
from cilia.agent.rule_hits import RuleHits
from cilia.datapath.maps.conntrack import ConntrackMap
from cilia.datapath.maps.denied import DeniedMap
from cilia.kernel.maps import Map
from cilia.model.errors import CiliaError
from cilia.runtime.clock import Clock

log = logging.getLogger(__name__)

FILE = "rule_hits.msgpack"
KEEP_S = 1.0
"""How often to look whether there are new numbers."""


class RuleAccounting:
    """A Service that keeps the account of a node's rules, from counters to file.

    Args:
        maps: Of the kernel.
        clock: Tells the time.
        state: The node's state folder.
        fold: Books what has been observed, if it can be booked now.
        newest: Rises with every new number.

    Attributes:
        hits: The account.
        census: Of the connections that the last sweep met; empty before the first.
    """

    name = "rule accounting"

    def __init__(
        self,
        maps: Mapping[str, Map],
        clock: Clock,
        state: Path,
        fold: Callable[[RuleHits], bool],
        newest: Callable[[], int],
    ) -> None:
        self._conntrack = ConntrackMap(maps)
        self._denied = DeniedMap(maps)
        self._clock = clock
        self._file = HitsFile(state / FILE, clock)
        self._fold = fold
        self._newest = newest
        self._kept = 0
        # A look that began earlier must not be taken in later: its counters would seem to fall.
        self._turn = asyncio.Lock()
        self.hits = RuleHits(clock, self._file.read())
        self.census: Census = {}

    async def run(self, ready: asyncio.Event) -> None:
        """Keeps new numbers until cancelled."""
        ready.set()
        while True:
            await self._clock.sleep(KEEP_S)
            if self._newest() == self._kept:
                continue
            async with self._turn:
                await self._keep()

    async def look(self) -> None:
        """Takes in the counters as they are now, and keeps the account: what was told stays."""
        async with self._turn:
            await asyncio.to_thread(self._look)
            await self._keep()

    async def sweep(self) -> int:
        """The same, then removes connections that have expired and keeps the account; how many.

        An agent that is killed in here loses the last interval of the connections removed.
        """
        async with self._turn:
            removed = await asyncio.to_thread(self._sweep)
            await self._keep()
        return removed

    async def _keep(self) -> None:
        newest = self._newest()
        if self._fold(self.hits):
            await asyncio.to_thread(self._write)
            self._kept = newest

    def _sweep(self) -> int:
        now_s = int(self._clock.monotonic())

        def seen(keys: Rows, values: Rows) -> None:
            self.census = census_of(keys, values, now_s)
            self._observe(keys, values)

        return self._conntrack.sweep(now_s, seen=seen)

    def _look(self) -> None:
        self._observe(*self._conntrack.columns())

    def _observe(self, keys: Rows, values: Rows) -> None:
        self.hits.observe(keys, values)
        rows = self._denied.read()
        still = self.hits.observe_denied(rows, self._denied.rest)
        self.hits.forget_denied(self._denied.make_room(rows, still))

    def _write(self) -> None:
        try:
            self._file.write(self.hits.account)
        except CiliaError as error:
            log.warning("counts of rules not kept", extra={"error": str(error)})
