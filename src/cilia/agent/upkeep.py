"""What must be done every so often."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from cilia.agent.rule_accounting import RuleAccounting
from cilia.datapath.maps.nat import NatMap
from cilia.kernel.maps import Map
from cilia.model.errors import CiliaError
from cilia.runtime.clock import Clock

log = logging.getLogger(__name__)


class ConnectionSweeper:
    """A Service that removes expired connections and masquerade mappings.

    Args:
        interval_s: Between two sweeps.
        longest_s: The longest that an idle connection is remembered: its mapping must
            outlive it.
        accounting: Sees connections before they are removed.

    Attributes:
        observe: Is told of every sweep: its seconds, and whether it failed.
    """

    name = "connection sweeper"

    def __init__(
        self,
        maps: Mapping[str, Map],
        clock: Clock,
        *,
        interval_s: float,
        longest_s: int,
        accounting: RuleAccounting,
    ) -> None:
        self._nat = NatMap(maps)
        self._clock = clock
        self._interval_s = interval_s
        self._longest_s = longest_s
        self._accounting = accounting
        self.observe: Callable[[float, bool], None] = lambda _took_s, _failed: None

    async def run(self, ready: asyncio.Event) -> None:
        """Sweeps until cancelled."""
        ready.set()
        while True:
            await self._clock.sleep(self._interval_s)
            began = time.perf_counter()
            try:
                connections = await self._accounting.sweep()
                mappings = await asyncio.to_thread(self._nat.sweep, self._longest_s + 60)
            except CiliaError as error:
                log.error("connections not swept", extra={"error": str(error)})
                self.observe(time.perf_counter() - began, True)
                continue
            self.observe(time.perf_counter() - began, False)
            if connections or mappings:
                log.debug("swept", extra={"connections": connections, "mappings": mappings})
