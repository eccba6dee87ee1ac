"""The observers of the cluster: who they are, and what changes."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from cilia.hubble.proto.peer import peer_pb2

HUBBLE_PEER = "hubble-peer"
"""The service behind which any node's observer names all of them."""
PORT = 4244
"""Where a node's observer listens unless it was told otherwise."""


class Peer(msgspec.Struct, frozen=True):
    """One node's observer."""

    name: str
    """`<cluster>/<node>`; without the cluster where that is `default`."""
    address: str
    """`ip:port`, `[ip]:port` or `unix:///path`."""
    server_name: str = ""
    """In its certificate; empty: it speaks no TLS."""


class Peers:
    """The peers as they are now; readers follow at their own pace and never see a backlog.

    Args:
        own: This node, which is always there.
    """

    def __init__(self, own: Peer) -> None:
        self._first = own
        self._always = {own.name: own}
        self.now: Mapping[str, Peer] = self._always
        self._moved = asyncio.Event()

    @property
    def own(self) -> Peer:
        """This node, as others reach it."""
        return self.now.get(self._first.name, self._first)

    def withhold_own(self) -> None:
        """Does not name this node before `replace` does: its socket is of no use elsewhere."""
        self._always = {}
        self.now = {}

    def replace(self, peers: Iterable[Peer]) -> None:
        """Says who is there; this node stays as it is when it is not among them."""
        found = self._always | {peer.name: peer for peer in peers}
        if found != self.now:
            self.now = found
            self._moved.set()
            self._moved = asyncio.Event()

    async def wait_other(self, than: Mapping[str, Peer]) -> None:
        """Waits until the peers are others than these."""
        while self.now == than:
            await self._moved.wait()


def changes(
    before: Mapping[str, Peer], after: Mapping[str, Peer]
) -> Iterator[peer_pb2.ChangeNotification]:
    """What turns `before` into `after`; those that went come first.

    >>> [one.name for one in changes({}, {"b": Peer("b", "x"), "a": Peer("a", "y")})]
    ['a', 'b']
    """
    for name in sorted(before.keys() - after.keys()):
        yield _notification(before[name], peer_pb2.PEER_DELETED)
    for name in sorted(after):
        if name not in before:
            yield _notification(after[name], peer_pb2.PEER_ADDED)
        elif before[name] != after[name]:
            yield _notification(after[name], peer_pb2.PEER_UPDATED)


def _notification(
    peer: Peer, kind: "peer_pb2.ChangeNotificationType.ValueType"
) -> peer_pb2.ChangeNotification:
    told = peer_pb2.ChangeNotification(name=peer.name, address=peer.address, type=kind)
    if peer.server_name:
        told.tls.server_name = peer.server_name
    return told
