"""`cilia relay serve [--config FILE]`, also called `hubble-relay serve`."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from cilia import __version__
from cilia.hubble.peers import HUBBLE_PEER
from cilia.hubble.relay.connection import Dialler, Timing
from cilia.hubble.relay.flows import MergeSettings
from cilia.hubble.relay.pool import NodePool, PeerSource
from cilia.hubble.relay.service import RelayApi, RelayHealth
from cilia.hubble.server.listener import HubblePort, HubbleSocket
from cilia.hubble.tls import node_server_name
from cilia.model.errors import CiliaError
from cilia.relay.settings import RelaySettings, duration_s
from cilia.runtime.files import raise_file_limit
from cilia.runtime.logs import set_up_logs
from cilia.runtime.services import Service, serve
from cilia.runtime.settings import load_settings

log = logging.getLogger(__name__)

USAGE = """usage: cilia relay serve [--config FILE] [--NAME=VALUE …]
       cilia relay version

Serves the flows of all nodes at one address. Settings, with their defaults:
"""


def main(arguments: list[str]) -> None:
    """Runs the relay until SIGTERM; exit code 1 with one line when it cannot."""
    match arguments:
        case ["serve", *words] if not {"-h", "--help"} & set(words):
            _serve(words)
        case ["version"]:
            print(f"hubble-relay v{__version__}")
        case [("-h" | "--help"), *_] | ["serve", *_]:
            print(USAGE + "\n".join(_settings_lines()))
        case _:
            print(USAGE.splitlines()[0], file=sys.stderr)
            sys.exit(2)


def _settings_lines() -> Iterator[str]:
    for field in msgspec.structs.fields(RelaySettings):
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        yield f"  --{field.name.replace('_', '-')}={str(default).lower()}"


def _serve(words: list[str]) -> None:
    try:
        settings = read_settings(words)
        set_up_logs(settings.log_level, settings.log_format)
        raise_file_limit()
        asyncio.run(run(settings))
    except CiliaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def read_settings(words: Sequence[str]) -> RelaySettings:
    """The settings of these words: `--config FILE` first, then flags."""
    file = None
    if words[:1] == ["--config"] and len(words) > 1:
        file, words = Path(words[1]), words[2:]
    return load_settings(
        RelaySettings, file=file, environment=os.environ, flags=spelled_out(words)
    ).values


def spelled_out(words: Sequence[str]) -> list[str]:
    """Flags that are yes or no may stand alone.

    >>> spelled_out(["--disable-server-tls", "--socket", "/run/r.sock"])
    ['--disable-server-tls=true', '--socket', '/run/r.sock']
    """
    switches = {
        f"--{field.name.replace('_', '-')}"
        for field in msgspec.structs.fields(RelaySettings)
        if field.type is bool
    }
    return [f"{word}=true" if word in switches else word for word in words]


async def run(settings: RelaySettings) -> None:
    """Serves until SIGTERM or SIGINT."""
    async with asyncio.TaskGroup() as group:
        work = group.create_task(serve(*layers(settings)))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work


def layers(settings: RelaySettings) -> tuple[tuple[Service, ...], ...]:
    """What runs: the nodes, and above them the sockets."""
    pool = NodePool(
        peer_source(settings),
        Dialler(settings.client_tls()),
        Timing(longest_retry_s=duration_s("retry_timeout", settings.retry_timeout)),
    )
    merging = MergeSettings(
        settings.sort_buffer_len_max,
        duration_s("sort_buffer_drain_timeout", settings.sort_buffer_drain_timeout),
        duration_s("error_aggregation_window", settings.error_aggregation_window),
    )
    api = RelayApi(pool, merging, __version__, f"{settings.cluster_name}/{settings.node_name}")
    sockets: list[Service] = []
    if settings.socket:
        sockets.append(HubbleSocket(Path(settings.socket), api.server))
    if settings.listen_address:
        sockets.append(HubblePort(settings.listen_address, settings.server_tls(), api.server))
    if settings.health_listen_address:
        where = settings.health_listen_address
        sockets.append(HubblePort(where, None, api.health_server, for_all=True))
    log.info("relaying", extra={"peers": settings.peer_service, "at": settings.listen_address})
    return ((pool, RelayHealth(api)), tuple(sockets))


def peer_source(settings: RelaySettings) -> PeerSource:
    """Who names the nodes, and the name in its certificate."""
    if settings.peer_service.startswith("unix:"):
        return PeerSource(settings.peer_service)
    return PeerSource(settings.peer_service, node_server_name(HUBBLE_PEER, settings.cluster_name))
