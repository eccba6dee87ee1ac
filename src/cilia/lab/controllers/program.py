"""`cilia lab controllers --config FILE`: the controllers as a program."""

import asyncio
import logging
import signal
from pathlib import Path

import msgspec
import uvloop

from cilia.lab.controllers.config import ControllersConfig
from cilia.lab.controllers.loop import Controllers
from cilia.runtime.logs import set_up_logs
from cilia.wire.kubernetes import KubernetesClient


def main(config: Path) -> None:
    """Runs the controllers until a signal to stop."""
    set_up_logs()
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
