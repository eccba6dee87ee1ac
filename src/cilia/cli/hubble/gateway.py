"""A port of this machine that leads to a unix socket, for clients that know ports only."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from cilia.cli.errors import ClientError

CHUNK = 1 << 16


async def serve(path: Path, port: int, tell: Callable[[str], None]) -> None:
    """Leads every connection to the socket, until cancelled.

    Args:
        path: The socket.
        port: On the loopback addresses; 0: any.
        tell: Gets the address once it answers.

    Raises:
        ClientError: the port cannot be had.
    """

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            beyond, back = await asyncio.open_unix_connection(str(path))
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back))
                group.create_task(_copy(beyond, writer))
        finally:
            back.close()
            writer.close()

    try:
        server = await asyncio.start_server(lead, "127.0.0.1", port)
    except OSError as error:
        raise ClientError(
            f"cannot listen on port {port}: {error.strerror}", "choose another: --port-forward PORT"
        ) from None
    async with server:
        tell(f"localhost:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end; an end of one side is told to the other."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
