"""The socket that Hubble's clients connect to."""

import asyncio
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cilia.hubble.filters import Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.ports import Names
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import add_ObserverServicer_to_server
from cilia.hubble.proto.peer import peer_pb2
from cilia.hubble.proto.peer.peer_pb2_grpc import add_PeerServicer_to_server
from cilia.hubble.server.services import ObserverService, PeerService
from cilia.hubble.store import FlowStore

HEALTHY = ("", "hubble.server.Observer")
"""The names under which clients ask for health."""
GRACE_S = 0.5


class HubbleSocket:
    """A Service: Hubble's API on a unix socket.

    Args:
        path: The socket; a dead one in its place is removed.
        store: The flows.
        names: For the rules behind them.
        node: `<cluster>/<node>`.
        version: Of this program.
    """

    name = "hubble"

    def __init__(self, path: Path, store: FlowStore, names: Names, node: str, version: str) -> None:
        self._path = path
        self._address = f"unix://{path}"
        scene = Scene(store, node)
        maker = FlowMaker(store, names, node, version)
        self._observer = ObserverService(scene, maker, f"cilia v{version}", self._address)
        self._peer = PeerService(node, self._address)

    async def run(self, ready: asyncio.Event) -> None:
        """Serves until cancelled."""
        self._path.unlink(missing_ok=True)
        server = grpc.aio.server()
        add_ObserverServicer_to_server(self._observer, server)
        add_PeerServicer_to_server(self._peer, server)
        healths = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(healths, server)
        services = [
            observer_pb2.DESCRIPTOR.services_by_name["Observer"].full_name,
            peer_pb2.DESCRIPTOR.services_by_name["Peer"].full_name,
            health.SERVICE_NAME,
            reflection.SERVICE_NAME,
        ]
        reflection.enable_server_reflection(services, server)
        server.add_insecure_port(self._address)
        await server.start()
        self._path.chmod(0o660)
        for name in HEALTHY:
            await healths.set(name, health_pb2.HealthCheckResponse.SERVING)
        ready.set()
        try:
            await server.wait_for_termination()
        finally:
            try:
                await server.stop(GRACE_S)
            finally:
                self._path.unlink(missing_ok=True)
