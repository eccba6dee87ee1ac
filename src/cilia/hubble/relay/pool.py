"""The nodes of the cluster, as the peer service names them, each with its connection."""

import asyncio
import logging
import time

import grpc
import msgspec

from cilia.hubble.peers import Peer
from cilia.hubble.proto.peer import peer_pb2
from cilia.hubble.proto.peer.peer_pb2_grpc import PeerStub
from cilia.hubble.relay.connection import Dialler, NodeConnection, State, Timing, reason
from cilia.hubble.tls import CertificateError

log = logging.getLogger(__name__)

SETTLED_S = 5.0
"""After this long, a peer service that came back has named all nodes that it knows."""


class PeerSource(msgspec.Struct, frozen=True):
    """Who names the nodes."""

    address: str
    """`unix:///path` of an observer, or `host:port`."""
    server_name: str = ""


class NodePool:
    """A Service that follows Peer.Notify; when that is gone, the nodes stay as they are.

    Args:
        source: Who names the nodes.
        dialler: Opens channels, to it and to them.
        timing: How patiently.

    Attributes:
        nodes: By the name of the peer.
        has_source: Whether the peer service is connected.
    """

    name = "nodes"

    def __init__(self, source: PeerSource, dialler: Dialler, timing: Timing) -> None:
        self.nodes: dict[str, NodeConnection] = {}
        self.has_source = False
        self.dialler = dialler
        self._source = source
        self._timing = timing
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unconfirmed: set[str] = set()
        self._listed_at = 0.0
        self._complaint = ""
        self._moved = asyncio.Event()
        self._group = asyncio.TaskGroup()

    @property
    def connected(self) -> list[NodeConnection]:
        """The nodes that answer."""
        return [one for one in self._sorted() if one.state is State.CONNECTED]

    @property
    def unavailable(self) -> list[NodeConnection]:
        """Those that do not."""
        return [one for one in self._sorted() if one.state is not State.CONNECTED]

    def _sorted(self) -> list[NodeConnection]:
        return [self.nodes[name] for name in sorted(self.nodes)]

    @property
    def moved(self) -> asyncio.Event:
        """Set once anything here changes; another event every time."""
        return self._moved

    async def run(self, ready: asyncio.Event) -> None:
        """Follows the peers until cancelled; ready at once."""
        ready.set()
        async with asyncio.TaskGroup() as self._group:
            wait_s = self._timing.first_retry_s
            while True:
                began = time.monotonic()
                try:
                    await self._follow()
                except (grpc.RpcError, CertificateError) as error:
                    self._complain(reason(error))
                if time.monotonic() - began > self._timing.longest_retry_s:
                    wait_s = self._timing.first_retry_s
                self.has_source = False
                self._notify()
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, self._timing.longest_retry_s)

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            log.warning("no peers", extra={"at": self._source.address, "why": why})
        self._complaint = why

    async def _follow(self) -> None:
        channel = self.dialler.dial(self._source.address, self._source.server_name)
        try:
            async for change in PeerStub(channel).Notify(peer_pb2.NotifyRequest()):
                if not self.has_source:
                    self.has_source, self._complaint = True, ""
                    self._unconfirmed = set(self.nodes)
                    self._listed_at = time.monotonic()
                self.apply(change)
        finally:
            await channel.close()

    def apply(self, change: peer_pb2.ChangeNotification) -> None:
        """Takes one change of the peers into account."""
        peer = Peer(change.name, change.address, change.tls.server_name)
        self._unconfirmed.discard(peer.name)
        known = self.nodes.get(peer.name)
        is_deleted = change.type == peer_pb2.PEER_DELETED
        if not is_deleted and is_local(peer.address) and not is_local(self._source.address):
            # A path here means nothing to who is elsewhere, unless it wants us to open it.
            log.warning("peer left out", extra={"node": peer.name, "address": peer.address})
            is_deleted = True
        if is_deleted:
            self._drop(peer.name)
        elif known is None or known.peer != peer:
            self._drop(peer.name)
            node = NodeConnection(peer, self.dialler, self._timing, self._notify)
            self.nodes[peer.name] = node
            self._tasks[peer.name] = self._group.create_task(node.run(), name=peer.name)
        self._notify()

    def _drop(self, name: str) -> None:
        self.nodes.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    def _notify(self) -> None:
        self._forget()
        self._moved.set()
        self._moved = asyncio.Event()

    def _forget(self) -> None:
        """Drops nodes that cannot be reached and that nobody names any more."""
        if not self.has_source or time.monotonic() - self._listed_at < SETTLED_S:
            return
        for name in list(self._unconfirmed):
            node = self.nodes.get(name)
            if node is None or node.state is State.UNAVAILABLE:
                self._unconfirmed.discard(name)
                self._drop(name)


def is_local(address: str) -> bool:
    """Whether an address is a socket of this machine.

    >>> is_local("unix:///run/cilia/hubble.sock"), is_local("10.0.0.1:4244")
    (True, False)
    """
    return address.lower().startswith(("unix:", "unix-abstract:"))
