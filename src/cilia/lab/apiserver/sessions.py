"""What SPDY clients do, in terms of the kubelet's WebSockets: commands, and forwarded ports."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import ClientWebSocketResponse, WSMsgType

from .spdy import Away, Data, Decoder, Encoder, Frame, Opened, Ping, Reset
from .storage import encode
from .streams import ByteStream

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
"""Channel numbers of `v5.channel.k8s.io`."""
CHANNELS = {
    "stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE,
}  # fmt: skip
_LINGER_SECONDS = 5.0
_OPEN_SECONDS = 30.0
_MAX_STREAMS = 256

Dial = Callable[[str], AbstractAsyncContextManager[ClientWebSocketResponse]]
"""Opens a WebSocket to the kubelet with a query."""


class Frames:
    """SPDY frames over a byte stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._decoder = Decoder()
        self.encoder = Encoder()
        self._ready: list[Frame] = []

    async def next(self) -> Frame | None:
        """The next frame that matters; None at the end. Pings are answered on the way.

        Raises:
            SpdyError: The peer sends what is no SPDY.
        """
        while True:
            while self._ready:
                frame = self._ready.pop(0)
                if isinstance(frame, Ping):
                    await self._stream.write(self.encoder.ping(frame.number))
                elif isinstance(frame, Away):
                    continue
                else:
                    return frame
            raw = await self._stream.read()
            if not raw:
                return None
            self._ready = self._decoder.feed(raw)

    async def send(self, raw: bytes) -> None:
        """Sends encoded frames."""
        await self._stream.write(raw)


class Command:
    """One exec or attach of a SPDY client."""

    def __init__(self, frames: Frames, channels: frozenset[int]) -> None:
        """Args: the frames, and the channels that the client will open streams for."""
        self._frames = frames
        self._wanted = channels
        self._streams: dict[int, int] = {}
        self._channels: dict[int, int] = {}

    async def accept_streams(self) -> bool:
        """Waits until the client has opened all its streams; False when it goes away before."""
        async with asyncio.timeout(_OPEN_SECONDS):
            while not self._wanted <= set(self._streams):
                frame = await self._frames.next()
                if frame is None:
                    return False
                if isinstance(frame, Opened):
                    channel = CHANNELS.get(frame.headers.get("streamtype", ""), CLOSE)
                    self._streams[channel] = frame.stream
                    self._channels[frame.stream] = channel
                    await self._frames.send(self._frames.encoder.reply(frame.stream))
        return True

    async def run(self, kubelet: ClientWebSocketResponse) -> None:
        """Copies both ways until the command ends or the client goes."""
        async with asyncio.TaskGroup() as group:
            upward = group.create_task(self._upward(kubelet))
            async for message in kubelet:
                if message.type is WSMsgType.BINARY and message.data:
                    await self._downward(message.data[0], message.data[1:])
            for stream in self._streams.values():
                await self._frames.send(self._frames.encoder.data(stream, b"", end=True))
            # The client closes once it has read everything.
            await asyncio.wait([upward], timeout=_LINGER_SECONDS)
            upward.cancel()

    async def _downward(self, channel: int, payload: bytes) -> None:
        stream = self._streams.get(channel)
        if stream is not None and payload:
            await self._frames.send(self._frames.encoder.data(stream, payload))

    async def _upward(self, kubelet: ClientWebSocketResponse) -> None:
        while (frame := await self._frames.next()) is not None:
            channel = self._channels.get(getattr(frame, "stream", 0), CLOSE)
            if isinstance(frame, Data) and channel in (STDIN, RESIZE) and not kubelet.closed:
                if frame.payload:
                    await kubelet.send_bytes(bytes([channel]) + frame.payload)
                if frame.ended and channel == STDIN:
                    await kubelet.send_bytes(bytes([CLOSE, channel]))
        if not kubelet.closed:
            await kubelet.close()


class Forwarding:
    """Forwarded ports of one SPDY client: each connection is a pair of streams."""

    def __init__(self, frames: Frames, dial: Dial) -> None:
        self._frames = frames
        self._dial = dial
        self._errors: dict[str, int] = {}
        self._queues: dict[int, asyncio.Queue[Data | None]] = {}

    async def run(self) -> None:
        """Serves connections until the client goes."""
        async with asyncio.TaskGroup() as group:
            while (frame := await self._frames.next()) is not None:
                if isinstance(frame, Opened):
                    await self._opened(frame, group)
                elif isinstance(frame, Data) and frame.stream in self._queues:
                    await self._queues[frame.stream].put(frame)
                elif isinstance(frame, Reset) and frame.stream in self._queues:
                    await self._queues[frame.stream].put(None)
            for queue in list(self._queues.values()):
                await queue.put(None)

    async def _opened(self, frame: Opened, group: asyncio.TaskGroup) -> None:
        encoder = self._frames.encoder
        kind, request = frame.headers.get("streamtype"), frame.headers.get("requestid", "")
        port = frame.headers.get("port", "")
        if len(self._queues) >= _MAX_STREAMS or not port.isdecimal():
            await self._frames.send(encoder.reset(frame.stream))
            return
        await self._frames.send(encoder.reply(frame.stream))
        if kind == "error":
            self._errors[request] = frame.stream
        elif kind == "data":
            self._queues[frame.stream] = asyncio.Queue(maxsize=64)
            group.create_task(self._connection(frame.stream, self._errors.pop(request, 0), port))

    async def _connection(self, stream: int, errors: int, port: str) -> None:
        encoder = self._frames.encoder
        try:
            async with self._dial(f"port={port}") as kubelet, asyncio.TaskGroup() as group:
                upward = group.create_task(self._upward(stream, kubelet))
                async for message in kubelet:
                    if message.type is WSMsgType.BINARY and message.data:
                        await self._frames.send(encoder.data(stream, message.data))
                upward.cancel()
        except* (OSError, ValueError) as problems:
            text = f"forwarding port {port}: {problems.exceptions[0]}"
            await self._frames.send(encoder.data(errors, text.encode()))
        self._queues.pop(stream, None)
        if errors:
            await self._frames.send(encoder.data(errors, b"", end=True))
        await self._frames.send(encoder.data(stream, b"", end=True))

    async def _upward(self, stream: int, kubelet: ClientWebSocketResponse) -> None:
        queue = self._queues[stream]
        while (frame := await queue.get()) is not None:
            if frame.payload:
                await kubelet.send_bytes(frame.payload)
            if frame.ended:
                await kubelet.send_bytes(b"")
        await kubelet.close()


def failure(message: str) -> bytes:
    """A failure `Status` as the error channel carries it."""
    status = {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError"}
    return bytes(encode(status))
