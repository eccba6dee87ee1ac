"""Where Hubble's clients connect: a unix socket, and a TCP port with TLS."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cilia.hubble.filters import Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.peers import Peer, Peers
from cilia.hubble.ports import Names
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import add_ObserverServicer_to_server
from cilia.hubble.proto.peer import peer_pb2
from cilia.hubble.proto.peer.peer_pb2_grpc import add_PeerServicer_to_server
from cilia.hubble.server.agent_events import AgentHistory
from cilia.hubble.server.calls import CallCounts
from cilia.hubble.server.services import ObserverService, PeerService
from cilia.hubble.server.version import VersionHeader
from cilia.hubble.store import FlowStore
from cilia.hubble.tls import CertificateError, ServerCertificates, TlsFiles

log = logging.getLogger(__name__)

Options = Sequence[tuple[str, int]]

HEALTHY = ("", "hubble.server.Observer")
"""The names under which clients ask for health."""
GRACE_S = 0.5
RETRY_S = 1.0
"""How often a port is tried that cannot be opened, or that has no certificates yet."""
CALLS_AT_ONCE = 1024
OPTIONS = (
    ("grpc.so_reuseport", 0),  # two servers on one port would share its clients
    ("grpc.keepalive_time_ms", 30_000),  # connections whose other end is gone
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.max_concurrent_streams", 128),
    ("grpc.max_receive_message_length", 1 << 20),
    ("grpc.server_handshake_timeout_ms", 10_000),
)


BRIEF = (
    ("grpc.max_connection_age_ms", 30_000),
    ("grpc.max_connection_age_grace_ms", 1_000),
    ("grpc.max_concurrent_streams", 4),
)
"""For probes: Health.Watch has no end of its own, so a connection has, and few calls at once."""


class HubbleApi:
    """Everything that an observer answers, wherever it listens.

    Args:
        store: The flows.
        names: For the rules behind them.
        node: `<cluster>/<node>`.
        version: Of this program.
        own: This node's observer, as others reach it.
    """

    def __init__(self, store: FlowStore, names: Names, node: str, version: str, own: Peer) -> None:
        self.version = version
        self.peers = Peers(own)
        self.calls = CallCounts()
        self.events: AgentHistory = AgentHistory()
        maker = FlowMaker(store, names, node, version)
        scene = Scene(store, node, flow=maker.flow)
        self._observer = ObserverService(scene, maker, f"cilia v{version}", self.peers, self.events)
        self._peer = PeerService(self.peers)

    async def server(self) -> grpc.aio.Server:
        """A server with all services; it has no port yet."""
        server = new_server(VersionHeader("hubble-server-version", self.version), self.calls)
        add_ObserverServicer_to_server(self._observer, server)
        add_PeerServicer_to_server(self._peer, server)
        await add_health(server, *HEALTHY)
        names = (
            observer_pb2.DESCRIPTOR.services_by_name["Observer"].full_name,
            peer_pb2.DESCRIPTOR.services_by_name["Peer"].full_name,
            health.SERVICE_NAME,
            reflection.SERVICE_NAME,
        )
        reflection.enable_server_reflection(names, server)
        return server


def new_server(*interceptors: grpc.aio.ServerInterceptor, options: Options = ()) -> grpc.aio.Server:
    """A server that bounds what one client can take: calls, sizes and dead connections.

    Args:
        interceptors: See each call first.
        options: Of the channel, stronger than `OPTIONS`.
    """
    return grpc.aio.server(
        interceptors=interceptors,
        options=tuple((dict(OPTIONS) | dict(options)).items()),
        maximum_concurrent_rpcs=CALLS_AT_ONCE,
    )


async def add_health(server: grpc.aio.Server, *names: str) -> health.aio.HealthServicer:
    """Adds the health service; these names are served until it is told otherwise."""
    servicer = health.aio.HealthServicer()
    for name in names:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer


MakeServer = Callable[[], Awaitable[grpc.aio.Server]]


class HubbleSocket:
    """A Service: an API on a unix socket.

    Args:
        path: The socket; a dead one in its place is removed.
        make: A server with what is served.
    """

    name = "hubble"

    def __init__(self, path: Path, make: MakeServer) -> None:
        self._path = path
        self._make = make

    async def run(self, ready: asyncio.Event) -> None:
        """Serves until cancelled."""
        await serve_socket(self._path, await self._make(), ready)


async def serve_socket(path: Path, server: grpc.aio.Server, ready: asyncio.Event) -> None:
    """Serves on a unix socket of mode 0660 until cancelled."""
    path.unlink(missing_ok=True)
    server.add_insecure_port(f"unix://{path}")
    await server.start()
    path.chmod(0o660)
    ready.set()
    try:
        await server.wait_for_termination()
    finally:
        try:
            await server.stop(GRACE_S)
        finally:
            path.unlink(missing_ok=True)


class HubblePort:
    """A Service: an API on TCP. It is ready at once; the port opens as soon as it can.

    Args:
        address: `ip:port`, `[ip]:port` or `:port` for every address.
        tls: The certificates; None: no TLS at all.
        make: A server with what is served.
        for_all: It is meant for anybody; else the log says when anybody is answered.
    """

    name = "hubble-port"

    def __init__(
        self, address: str, tls: TlsFiles | None, make: MakeServer, *, for_all: bool = False
    ) -> None:
        self._address = address
        self._tls = tls
        self._make = make
        self._for_all = for_all
        self.port = 0
        """Where it listens; 0 until it does."""

    async def run(self, ready: asyncio.Event) -> None:
        """Serves until cancelled."""
        ready.set()
        problem = ""
        while True:
            server = await self._make()
            try:
                self.port = open_port(server, self._address, self._tls)
                break
            except (CertificateError, RuntimeError) as error:
                if str(error) != problem:
                    log.warning("port not open", extra={"port": self._address, "why": str(error)})
                problem = str(error)
            await asyncio.sleep(RETRY_S)
        if not self._for_all and (self._tls is None or not self._tls.authorities):
            log.warning("any client is answered here", extra={"port": self._address})
        await server.start()
        try:
            await server.wait_for_termination()
        finally:
            await server.stop(GRACE_S)


def open_port(server: grpc.aio.Server, address: str, tls: TlsFiles | None) -> int:
    """Binds a server to an address; returns the port.

    Raises:
        CertificateError: The certificates cannot be used.
        RuntimeError: The address cannot be bound.
    """
    where = f"[::]{address}" if address.startswith(":") else address
    if tls is None:
        return server.add_insecure_port(where)
    return server.add_secure_port(where, ServerCertificates(tls).credentials())
