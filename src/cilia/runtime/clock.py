"""Time as a value that is handed in, so that tests can move it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> float:
        """Returns seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Returns seconds since boot (CLOCK_MONOTONIC, as the kernel programs count)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns when so many seconds have gone by."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Returns seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Returns seconds since boot."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    async def sleep(self, seconds: float) -> None:
        """Returns when so many seconds have gone by."""
        await asyncio.sleep(seconds)
