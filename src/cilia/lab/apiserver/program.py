"""The process: `cilia lab apiserver --config FILE`."""

import asyncio
import logging
import signal
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from .authentication import server_context
from .certificates import ensure_certificates
from .config import ApiServerConfig, read_config
from .listener import open_listener, url
from .server import Server
from .service import Cluster

log = logging.getLogger(__name__)

ALWAYS_NAMED = (
    "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local", "127.0.0.1", "::1",
)  # fmt: skip
"""In the server's certificate whatever the configuration says."""
_STOP_SECONDS = 0.2


async def serve(config: ApiServerConfig) -> None:
    """Serves until the task is cancelled.

    Raises:
        OSError: A listener's namespace or address cannot be had.
        sqlite3.OperationalError: Another process serves this state folder.
    """
    config.state.mkdir(parents=True, exist_ok=True)
    hosts = [listener.host for listener in config.listeners]
    names = (*ALWAYS_NAMED, *hosts, *config.names, *config.service_addresses)
    ensure_certificates(config.certificates, names)
    cluster = Cluster(config)
    sockets = [open_listener(listener) for listener in config.listeners]
    # A watch or a log that is followed must end with its client.
    handle = Server(cluster, config).handle
    server = web.Server(handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        context = server_context(config.certificates)
        for made in sockets:
            await web.SockSite(runner, made, ssl_context=context).start()
        urls = [url(made) for made in sockets]
        log.info("serving", extra={"urls": urls})
        if config.ready is not None:
            config.ready.parent.mkdir(parents=True, exist_ok=True)
            partial = config.ready.with_name(config.ready.name + ".new")
            partial.write_bytes(msgspec.json.encode(urls))
            partial.replace(config.ready)
        await cluster.garbage.run()
    finally:
        await runner.cleanup()
        cluster.close()


async def _until_signal(config: ApiServerConfig) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await serve(config)
    except asyncio.CancelledError:
        log.info("stopped")


def main(config_file: Path) -> None:
    """Runs the process until SIGTERM or SIGINT.

    Args:
        config_file: JSON of an `ApiServerConfig`.
    """
    config = read_config(config_file)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    uvloop.run(_until_signal(config))
