"""Long-running parts, and the one way in which they start and stop."""

import asyncio
import contextlib
from typing import Protocol


class Service(Protocol):
    """Something that runs until it is cancelled."""

    @property
    def name(self) -> str:
        """What it is called in logs and tasks."""
        ...

    async def run(self, ready: asyncio.Event) -> None:
        """Does the work; sets `ready` once what lies above may rely on it."""
        ...


async def serve(layer: tuple[Service, ...], *above: tuple[Service, ...]) -> None:
    """Runs services layer by layer, and stops them in the opposite order.

    A layer starts when every service below it is ready. When one service fails,
    or we are cancelled, the layers above it stop, top first, and the error comes
    out as an `ExceptionGroup`: no task outlives its parent and no error is lost.
    """
    ready = [asyncio.Event() for _ in layer]
    async with asyncio.TaskGroup() as group:
        for service, event in zip(layer, ready, strict=True):
            group.create_task(service.run(ready=event), name=service.name)
        for event in ready:
            await event.wait()
        if above:
            await serve(*above)


async def pause(event: asyncio.Event, seconds: float) -> bool:
    """Waits for an event, but not longer than so many seconds; returns whether it came."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
