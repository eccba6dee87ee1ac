"""`kubectl port-forward`: a connection to a port on a pod's own loopback."""

import asyncio
import contextlib
import os
import socket

from aiohttp import WSMsgType, web

from cilia.lab.kubelet.runtime import close_writer
from cilia.lab.kubelet.shim import linux

_CHUNK_BYTES = 64 * 1024
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def connect_inside(netns: str, port: int) -> socket.socket:
    """A connection to `port` on the loopback of a network namespace.

    Args:
        netns: Its path; empty: the kubelet's own.
        port: The port.

    Raises:
        OSError: Nobody listens there.
    """
    loop = asyncio.get_running_loop()
    refused: OSError | None = None
    for family, host in _LOOPBACKS:
        channel = await asyncio.to_thread(_socket_inside, netns, family)
        channel.setblocking(False)
        try:
            await loop.sock_connect(channel, (host, port))
        except OSError as error:
            channel.close()
            refused = refused or error
        else:
            return channel
    raise refused or OSError("no loopback")


def _socket_inside(netns: str, family: int) -> socket.socket:
    """A socket that belongs to a network namespace; for a thread, which visits it."""
    if not netns:
        return socket.socket(family, socket.SOCK_STREAM)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        linux.enter(netns, linux.CLONE_NEWNET)
        try:
            return socket.socket(family, socket.SOCK_STREAM)
        finally:
            linux.setns(home, linux.CLONE_NEWNET)
    finally:
        os.close(home)


async def copy(messages: web.WebSocketResponse, channel: socket.socket) -> None:
    """Copies both ways until the pod's side ends; an empty message ends the caller's side."""
    reader, writer = await asyncio.open_connection(sock=channel)
    try:
        async with asyncio.TaskGroup() as group:
            upward = group.create_task(_copy_up(messages, writer))
            with contextlib.suppress(ConnectionError, RuntimeError):
                while chunk := await reader.read(_CHUNK_BYTES):
                    await messages.send_bytes(chunk)
            await messages.close()
            upward.cancel()
    finally:
        await close_writer(writer)


async def _copy_up(messages: web.WebSocketResponse, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        async for message in messages:
            if message.type is WSMsgType.BINARY and message.data:
                writer.write(message.data)
                await writer.drain()
            elif message.type is WSMsgType.BINARY:
                writer.write_eof()
    # The caller is gone, so nobody reads what the pod still has to say.
    writer.close()
