"""Logs and streams of a pod's containers, from its node's kubelet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    UnixConnector,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from yarl import URL

from .containers import Target, query_of, target_of
from .errors import StatusError, bad_request, unavailable
from .resources import Resource
from .rest import Rest
from .sessions import CHANNELS, Command, Forwarding, Frames
from .spdy import SpdyError
from .storage import Key
from .streams import Tunnel, Upgraded, take_over

CHANNEL_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
SPDY_COMMAND = "v4.channel.k8s.io"
SPDY_FORWARD = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
_NO_LIMIT = ClientTimeout(total=None, sock_connect=5)


class KubeletProxy:
    """Forwards to the kubelets' sockets."""

    def __init__(self, rest: Rest, kubelets: Path | None) -> None:
        """Args: the objects, and the folder of `<node>/kubelet.sock`."""
        self._rest = rest
        self._kubelets = kubelets

    async def serve(
        self, request: web.BaseRequest, resource: Resource, key: Key, part: str
    ) -> web.StreamResponse:
        """Answers a request for a pod's `log`, `exec`, `attach` or `portforward`.

        Raises:
            StatusError: The pod or container does not exist (404, 400), has no node
                yet (400), or the node's kubelet does not answer (503).
        """
        target = target_of(self._rest.get(resource, key), request.query, part)
        if part == "log":
            return await self._log(request, target)
        upgrade = request.headers.get("Upgrade", "").lower()
        if upgrade == "websocket":
            if part == "portforward":
                return await self._tunnel(request, target)
            return await self._websocket(request, target)
        if upgrade == "spdy/3.1":
            return await self._spdy(request, target, part)
        raise bad_request("Upgrade request required")

    @asynccontextmanager
    async def _session(self, target: Target) -> AsyncIterator[ClientSession]:
        if self._kubelets is None:
            raise unavailable("this API server knows no kubelets")
        path = self._kubelets / target.node / "kubelet.sock"
        connector = UnixConnector(str(path))
        try:
            async with ClientSession(connector=connector, timeout=_NO_LIMIT) as session:
                yield session
        except (ClientError, FileNotFoundError) as error:
            message = f"kubelet of node {target.node} does not answer at {path}: {error}"
            raise unavailable(message) from error

    async def _log(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        async with self._session(target) as session:
            url = _url(target, query_of(request.query, "log"))
            async with session.get(url) as answer:
                if answer.status != 200:
                    raise await _refusal(answer)
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                response.enable_chunked_encoding()
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                return response

    @asynccontextmanager
    async def _dial(self, target: Target, query: str) -> AsyncIterator[ClientWebSocketResponse]:
        async with self._session(target) as session:
            try:
                socket = await session.ws_connect(
                    _url(target, query), protocols=CHANNEL_PROTOCOLS[:1], max_msg_size=0
                )
            except WSServerHandshakeError as error:
                raise StatusError(
                    error.status if 400 <= error.status < 500 else 500,
                    "InternalError" if error.status >= 500 else "BadRequest",
                    f"kubelet of node {target.node} refuses {target.path}: {error.message}",
                ) from error
            async with socket:
                yield socket

    async def _websocket(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """Copies messages between a WebSocket client and the kubelet, unchanged."""
        async with self._dial(target, query_of(request.query, "exec")) as kubelet:
            client = web.WebSocketResponse(protocols=CHANNEL_PROTOCOLS, max_msg_size=0)
            await client.prepare(request)
            async with asyncio.TaskGroup() as group:
                upward = group.create_task(_copy_up(client, kubelet))
                async for message in kubelet:
                    if message.type is WSMsgType.BINARY:
                        await client.send_bytes(message.data)
                await client.close()
                upward.cancel()
            return client

    async def _tunnel(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        client = web.WebSocketResponse(protocols=(TUNNEL,), max_msg_size=0)
        await client.prepare(request)
        await self._forward(Frames(Tunnel(client)), target)
        return client

    async def _forward(self, frames: Frames, target: Target) -> None:
        forwarding = Forwarding(frames, lambda query: self._dial(target, query))
        try:
            await forwarding.run()
        except* (SpdyError, ConnectionError):
            # The client broke off, or speaks something else: its connection ends.
            pass

    async def _spdy(
        self, request: web.BaseRequest, target: Target, part: str
    ) -> web.StreamResponse:
        offered = request.headers.getall("X-Stream-Protocol-Version", [])
        offers = {word.strip() for line in offered for word in line.split(",")}
        spoken = SPDY_FORWARD if part == "portforward" else SPDY_COMMAND
        if spoken not in offers:
            raise StatusError(403, "Forbidden", f"unable to upgrade: {spoken} is not offered")
        protocol = request.protocol
        if part == "portforward":
            stream = take_over(request, "SPDY/3.1", spoken)
            await self._forward(Frames(stream), target)
        else:
            query = query_of(request.query, "exec")
            async with self._dial(target, query) as kubelet:
                stream = take_over(request, "SPDY/3.1", spoken)
                await _command(Frames(stream), target, kubelet)
        await stream.close()
        protocol.connection_lost(None)
        return Upgraded()


async def _command(frames: Frames, target: Target, kubelet: ClientWebSocketResponse) -> None:
    command = Command(frames, frozenset(CHANNELS[name] for name in target.streams))
    try:
        if await command.accept_streams():
            await command.run(kubelet)
    except* (SpdyError, ConnectionError, TimeoutError):
        # The client broke off, or speaks something else: its connection ends.
        pass


async def _copy_up(client: web.WebSocketResponse, kubelet: ClientWebSocketResponse) -> None:
    async for message in client:
        if message.type is WSMsgType.BINARY and not kubelet.closed:
            await kubelet.send_bytes(message.data)
    await kubelet.close()


def _url(target: Target, query: str) -> URL:
    return URL(f"http://kubelet{target.path}?{query}", encoded=True)


async def _refusal(answer: ClientResponse) -> StatusError:
    text = (await answer.content.read(4096)).decode(errors="replace").strip()
    if 400 <= answer.status < 500:
        return StatusError(answer.status, "BadRequest", text)
    return StatusError(500, "InternalError", f"Internal error occurred: {text}")
