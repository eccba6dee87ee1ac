"""The connection to one node's observer: made, watched, and made again."""

import asyncio
import enum
import logging
import random
import time
from collections.abc import Callable

import grpc
import msgspec

from cilia.hubble.peers import Peer
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.tls import CertificateError, TlsFiles, channel_credentials, dial_options

log = logging.getLogger(__name__)

OPTIONS = (
    # Dialling again is ours to do: with new certificates, and with a backoff that can be seen.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 1 << 20),
)


class Timing(msgspec.Struct, frozen=True):
    """How patient the relay is with a node; all in seconds."""

    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0
    dial_s: float = 5.0
    check_every_s: float = 10.0
    """How often a node that is connected is asked whether it still answers."""
    answer_s: float = 5.0
    """How long it may take to answer a question about itself."""


class State(enum.Enum):
    """How a node is."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNAVAILABLE = "unavailable"


class Dialler:
    """Opens channels to observers.

    Args:
        tls: Our certificate and their authorities; None: TLS is not spoken.
    """

    def __init__(self, tls: TlsFiles | None) -> None:
        self._tls = tls

    def dial(self, address: str, server_name: str) -> grpc.aio.Channel:
        """A channel, with the certificates as they are on disk now.

        A socket of this machine needs no TLS. With TLS, an address is never spoken to without.

        Raises:
            CertificateError: They cannot be used.
        """
        if self._tls is None or address.startswith("unix:"):
            return grpc.aio.insecure_channel(address, OPTIONS)
        credentials = channel_credentials(self._tls)
        options = (*OPTIONS, *dial_options(server_name))
        return grpc.aio.secure_channel(address, credentials, options)

    @property
    def speaks_tls(self) -> bool:
        """Whether it has certificates."""
        return self._tls is not None


class NodeConnection:
    """One node, as long as the peer service names it.

    Args:
        peer: Whom to call.
        dialler: Opens the channel.
        timing: How patiently.
        moved: Called whenever the state is another.

    Attributes:
        state: How the node is.
        problem: Why it is not connected.
        generation: Counts its connections.
        channel: While it is connected.
    """

    def __init__(
        self, peer: Peer, dialler: Dialler, timing: Timing, moved: Callable[[], None]
    ) -> None:
        self.peer = peer
        self.state = State.CONNECTING
        self.problem = ""
        self.generation = 0
        self.channel: grpc.aio.Channel | None = None
        self._dialler = dialler
        self._timing = timing
        self._moved = moved

    async def run(self) -> None:
        """Keeps the connection until cancelled."""
        wait_s = self._timing.first_retry_s
        while True:
            began = time.monotonic()
            try:
                await self._connected()
            except (grpc.RpcError, CertificateError, TimeoutError, OSError) as error:
                self._become(State.UNAVAILABLE, reason(error))
            except Exception as error:
                # One node's oddity must not end the relay of all.
                log.exception("node failed", extra={"node": self.peer.name})
                self._become(State.UNAVAILABLE, reason(error))
            if time.monotonic() - began > self._timing.longest_retry_s:
                wait_s = self._timing.first_retry_s
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))
            wait_s = min(2 * wait_s, self._timing.longest_retry_s)

    async def _connected(self) -> None:
        """One connection, from dialling to its end.

        Raises:
            grpc.RpcError, CertificateError, TimeoutError, OSError: Why it ended.
        """
        channel = self._dialler.dial(self.peer.address, self.peer.server_name)
        try:
            await self._answer(channel, self._timing.dial_s)
            self.channel = channel
            self.generation += 1
            self._become(State.CONNECTED, "")
            while True:
                await self._pause(channel)
                await self._answer(channel, self._timing.answer_s)
        finally:
            self.channel = None
            await channel.close()

    async def _answer(self, channel: grpc.aio.Channel, within_s: float) -> None:
        """Asks the node something small: a process that hangs holds its connections open."""
        ask = ObserverStub(channel).ServerStatus
        await ask(observer_pb2.ServerStatusRequest(), timeout=within_s, wait_for_ready=False)

    async def _pause(self, channel: grpc.aio.Channel) -> None:
        """Waits until it is time to ask again, or the connection is not what it was."""
        ready = grpc.ChannelConnectivity.READY
        try:
            async with asyncio.timeout(self._timing.check_every_s):
                while channel.get_state() == ready:
                    await channel.wait_for_state_change(ready)
        except TimeoutError:
            return

    def _become(self, state: State, problem: str) -> None:
        if (state, problem) != (self.state, self.problem):
            log.info(
                "node",
                extra={"node": self.peer.name, "state": state.value, "why": problem},
            )
        self.state, self.problem = state, problem
        self._moved()


def reason(error: BaseException) -> str:
    """Why a call failed, in one line."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.details() or error.code().name
    return str(error) or type(error).__name__
