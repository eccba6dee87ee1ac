"""`cilia observer --config FILE`: one a node, the only reader of its rings."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cilia import __version__
from cilia.datapath import loader
from cilia.datapath.maps.metric import event_stats
from cilia.datapath.records import EventRings, event_dtype
from cilia.hubble.events import wall_clock_offset_ns
from cilia.hubble.monitor import Monitor
from cilia.hubble.server.listener import HubbleApi, HubbleSocket
from cilia.hubble.sockets import Callers
from cilia.hubble.store import FlowStore
from cilia.kernel.errors import NotFoundError
from cilia.kernel.maps import Map, possible_cpus
from cilia.kernel.rings import WakeUps
from cilia.model.errors import CiliaError
from cilia.model.site import NodeSite
from cilia.observer.account import EventAccount
from cilia.observer.agent_monitor import AgentMonitor
from cilia.observer.capture import open_captures
from cilia.observer.connection_services import connection_services
from cilia.observer.export import export_services
from cilia.observer.export_metrics import ExportMetrics
from cilia.observer.joiner import Joiner
from cilia.observer.metrics import metrics_services
from cilia.observer.monitor_feed import MonitorFeed
from cilia.observer.names import AgentNames
from cilia.observer.network import network_services, own_peer
from cilia.observer.reader import Reader
from cilia.observer.redacting import redaction
from cilia.observer.settings import ObserverSettings
from cilia.runtime.files import raise_file_limit
from cilia.runtime.locks import ProcessLock
from cilia.runtime.logs import set_up_logs
from cilia.runtime.services import serve
from cilia.runtime.settings import load_settings

log = logging.getLogger(__name__)

WAIT_FOR_RINGS_S = 0.05
MAPS = ("event_stats", "conntrack", "ended", "tally")


def main(arguments: list[str]) -> None:
    """Runs the observer until SIGTERM; exit code 1 with one line when it cannot."""
    problems: set[str] = set()
    try:
        settings = read_settings(arguments)
        set_up_logs(settings.log_level, settings.log_format)
        raise_file_limit()
        with ProcessLock(
            Path(settings.run_dir) / "observer.pid", f"an observer for {settings.node_name}"
        ):
            asyncio.run(run(settings))
    except* CiliaError as group:
        problems = set(texts(group))
    for problem in sorted(problems):
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)


def texts(error: BaseException) -> Iterator[str]:
    """What went wrong, one by one."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from texts(one)
    else:
        yield str(error)


def read_settings(arguments: list[str]) -> ObserverSettings:
    """The settings of these words: `--config FILE` first, then flags."""
    file = None
    if arguments[:1] == ["--config"] and len(arguments) > 1:
        file, arguments = Path(arguments[1]), arguments[2:]
    return load_settings(
        ObserverSettings, file=file, environment=os.environ, flags=arguments
    ).values


async def run(settings: ObserverSettings) -> None:
    """Waits for the datapath, then reads and serves until SIGTERM or SIGINT."""
    site = NodeSite(
        name=settings.node_name,
        netns=None,
        bpffs=Path(settings.bpffs),
        cgroup=Path("/"),
        state=Path(settings.run_dir),
        run=Path(settings.run_dir),
    )
    async with asyncio.TaskGroup() as group:
        work = group.create_task(observe(site, settings))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def observe(site: NodeSite, settings: ObserverSettings) -> None:
    """Connects rings, names and subscribers, and runs them."""
    redaction(settings)  # nothing to hide yet; settings that cannot be are refused at once
    rings, maps = await _open_datapath(site)
    names = AgentNames(site.agent_socket)
    sizes = [ring.size for ring in rings.rings.values()]
    greeting = {"type": "listening", "cpus": len(sizes), "ring_bytes": sizes[0]}
    captures = open_captures(site)
    monitor = Monitor(greeting, interface_name, event_dtype(), captures)
    store = FlowStore(event_dtype(), settings.hubble_capacity, interface_name)
    joiner, callers = Joiner(store, names), Callers(lambda: names.is_dual_stack)
    feed = MonitorFeed(monitor, names)

    def keep(records: NDArray[np.void]) -> None:
        store.add(callers.complete(records), wall_clock_offset_ns())

    def publish(records: NDArray[np.void]) -> None:
        joiner.notice()
        if monitor.is_watched:
            feed.offer(callers.complete(records))

    def report_lost(cpu: int, count: int) -> None:
        monitor.report_lost(cpu, count)
        store.report_lost(time.time_ns(), cpu, count)

    def interval_s() -> float:
        is_watched = monitor.is_watched or store.followers
        milliseconds = settings.poll_interval_ms if is_watched else settings.idle_interval_ms
        return milliseconds / 1000

    account = EventAccount(
        site.run / "observer.lost", lambda: event_stats(maps), maps["event_stats"].id, rings.rings
    )
    reader = Reader(
        list(rings.rings.values()),
        account,
        keep,
        publish,
        report_lost,
        interval_s,
    )
    harvester, own_api = connection_services(
        site,
        maps,
        store,
        names,
        account,
        monitor_lost=lambda: monitor.lost,
        interval_s=settings.harvest_interval_s,
        notice=joiner.notice,
    )
    wake_ups = WakeUps(rings.rings.values())

    def hurry() -> None:
        wake_ups.clear()
        reader.hurry()

    asyncio.get_running_loop().add_reader(wake_ups.fileno(), hurry)
    log.info("observing", extra={"rings": len(sizes), "socket": str(site.monitor_socket)})
    node = f"{settings.cluster_name}/{settings.node_name}"
    api = HubbleApi(store, names, node, __version__, own_peer(settings, site.hubble_socket))
    hubble = HubbleSocket(site.hubble_socket, api.server)
    beyond = network_services(settings, site.agent_socket, api)
    exports = export_services(site, settings, store, names, node, account, rings.rings)
    agent, others = site.agent_socket, [ExportMetrics(one) for one in exports]
    counting = metrics_services(
        settings, store, names, harvester.totals, node, agent, api.calls, *others
    )
    try:
        sockets = (MonitorSocket(site.monitor_socket, monitor), hubble)
        above = (*beyond, *counting, *exports, AgentMonitor(api.events, monitor))
        await serve((joiner, feed), (reader, harvester, own_api, *sockets), above)
    finally:
        asyncio.get_running_loop().remove_reader(wake_ups.fileno())
        wake_ups.close()
        account.close()
        if captures:
            captures.close()
        rings.close()


def interface_name(index: int) -> str:
    """The name of a device of this network namespace; empty when it is gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


async def _open_datapath(site: NodeSite) -> tuple[EventRings, dict[str, Map]]:
    """The rings and their counters, as soon as the agent has made all of them."""
    waiting = False
    while True:
        with contextlib.suppress(NotFoundError, FileNotFoundError):
            maps = {name: loader.open_map(site, name) for name in MAPS}
            wanted = min(possible_cpus(), loader.open_map(site, "event_rings").max_entries)
            rings = EventRings(site)
            if len(rings.rings) == wanted:
                return rings, maps
            rings.close()
        if not waiting:
            log.info("waiting for the agent to load the datapath")
        waiting = True
        await asyncio.sleep(WAIT_FOR_RINGS_S)


class MonitorSocket:
    """A Service: the unix socket that subscribers connect to.

    Args:
        path: The socket; a dead one in its place is removed.
        monitor: Serves each client.
    """

    name = "monitor"

    def __init__(self, path: Path, monitor: Monitor) -> None:
        self._path = path
        self._monitor = monitor

    async def run(self, ready: asyncio.Event) -> None:
        """Accepts clients until cancelled."""
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._monitor.serve, str(self._path))
        self._path.chmod(0o660)
        async with server:
            ready.set()
            await server.serve_forever()
