"""The kubelet's socket: logs and exec, for the API server.

GET /logs/{namespace}/{pod}/{container}?follow&tailLines&...   text as it comes
GET /exec/{namespace}/{pod}/{container}?command=&stdin&stdout&stderr&tty   WebSocket
GET /portforward/{namespace}/{pod}?port=                       WebSocket of plain bytes
GET /healthz
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from cilia.lab.kubelet import launch
from cilia.lab.kubelet.execution import PROTOCOLS, Session, Streams
from cilia.lab.kubelet.forwarding import connect_inside, copy
from cilia.lab.kubelet.logs import parse_options, read_log
from cilia.lab.kubelet.tracked import Tracked
from cilia.lab.kubelet.worker import Worker
from cilia.model.errors import InvalidValue

Find = Callable[[str, str], Awaitable[Worker | None]]


class _Handlers:
    def __init__(self, find: Find, state: Path) -> None:
        self._find = find
        self._state = state

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def logs(self, request: web.Request) -> web.StreamResponse:
        worker, one = await self._container(request)
        try:
            options = parse_options(request.query, time.time())
        except InvalidValue as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if one.last is None:
            why = ": ".join(part for part in one.waiting if part)
            raise web.HTTPBadRequest(
                text=f'container "{one.name}" in pod "{worker.pod.metadata.name}" is waiting '
                f"to start: {why}"
            )
        attempt = one.last["attempt"] - options.previous
        path = launch.log_folder(self._state, worker.pod, one.name) / f"{attempt}.log"
        if not path.exists():
            raise web.HTTPBadRequest(
                text=f'previous terminated container "{one.name}" in pod '
                f'"{worker.pod.metadata.name}" not found'
            )
        run = one.last["id"]
        answer = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await answer.prepare(request)

        def is_running() -> bool:
            return one.is_running and one.last is not None and one.last["id"] == run

        with contextlib.suppress(ConnectionError):
            async for chunk in read_log(path, options, is_running):
                await answer.write(chunk)
            await answer.write_eof()
        return answer

    async def execute(self, request: web.Request) -> web.StreamResponse:
        worker, one = await self._container(request)
        command = request.query.getall("command", [])
        if not command:
            raise web.HTTPBadRequest(text="exec: you must specify at least one command")
        if worker.sandbox is None or not one.is_running:
            raise web.HTTPBadRequest(
                text=f'cannot exec into container "{one.name}" of pod '
                f'"{worker.pod.metadata.name}": it is not running'
            )
        wanted = Streams(
            **{
                name: request.query.get(name, "false") in ("true", "1", "")
                for name in ("stdin", "stdout", "stderr", "tty")
            }
        )
        socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
        await socket.prepare(request)
        program = launch.exec_program(command)
        if wanted.tty:
            program["env"] = {"TERM": "xterm"}
        await Session(socket, wanted).run(worker.sandbox.shim, one.name, program)
        return socket

    async def forward(self, request: web.Request) -> web.StreamResponse:
        worker = await self._worker(request)
        port = request.query.get("port", "")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise web.HTTPBadRequest(text=f"port is {port!r}; it must be 1 to 65535")
        if worker.sandbox is None:
            raise web.HTTPBadRequest(text=f"pod {worker.pod.name} is not running")
        netns = worker.sandbox.record.attachment.netns
        try:
            channel = await connect_inside(netns, int(port))
        except OSError as error:
            text = f"port {port} of pod {worker.pod.name}: {error.strerror or error}"
            raise web.HTTPBadRequest(text=text) from error
        socket = web.WebSocketResponse(max_msg_size=0, protocols=PROTOCOLS)
        await socket.prepare(request)
        await copy(socket, channel)
        return socket

    async def _container(self, request: web.Request) -> tuple[Worker, Tracked]:
        place = request.match_info
        worker = await self._worker(request)
        one = worker.find(place["container"])
        if one is None:
            raise web.HTTPBadRequest(
                text=f"container {place['container']} is not valid for pod "
                f"{worker.pod.metadata.name}; it has "
                f"{', '.join(known.name for known in worker.tracked)}"
            )
        return worker, one

    async def _worker(self, request: web.Request) -> Worker:
        namespace, pod = request.match_info["namespace"], request.match_info["pod"]
        worker = await self._find(namespace, pod)
        if worker is None:
            raise web.HTTPNotFound(text=f"pod {namespace}/{pod} is not on this node")
        return worker


@contextlib.asynccontextmanager
async def serve(path: Path, find: Find, state: Path) -> AsyncIterator[None]:
    """Serves the socket at `path` within the block.

    Args:
        path: Where to listen; a stale socket is replaced.
        find: Gives the worker of a pod, by namespace and name.
        state: The node's state folder, with the logs in it.
    """
    handlers = _Handlers(find, state)
    app = web.Application()
    place = "{namespace}/{pod}/{container}"
    app.router.add_get("/healthz", handlers.health)
    app.router.add_get(f"/logs/{place}", handlers.logs)
    app.router.add_get(f"/exec/{place}", handlers.execute)
    app.router.add_get("/portforward/{namespace}/{pod}", handlers.forward)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    site = web.UnixSite(runner, str(path))
    await site.start()
    os.chmod(path, 0o600)
    try:
        yield
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await runner.cleanup()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
