"""`cilia lab controllers --config FILE`: the controllers as a program."""

import asyncio
import logging
import signal
from pathlib import Path

import msgspec
import uvloop

from cilia.lab.controllers.loop import Controllers
from cilia.wire.kubernetes import KubernetesClient


class ControllersConfig(msgspec.Struct, frozen=True):
    """What the controllers need to know."""

    kubeconfig: Path


def main(config: Path) -> None:
    """Runs the controllers until a signal to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = msgspec.json.decode(config.read_bytes(), type=ControllersConfig)
    uvloop.run(_run(settings))


async def _run(settings: ControllersConfig) -> None:
    async with KubernetesClient.from_kubeconfig(settings.kubeconfig) as client:
        running = asyncio.current_task()
        assert running is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        try:
            await Controllers(client).run()
        except asyncio.CancelledError:
            logging.getLogger(__name__).info("stopped")
