"""HTTP on a unix socket: JSON in, JSON out, errors as JSON."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from cilia.model.errors import CiliaError, Conflict, InvalidValue, NotFound

log = logging.getLogger(__name__)

Body = TypeVar("Body")

Request = web.Request
Response = web.StreamResponse
Handler = Callable[[Request], Awaitable[Response]]
Observe = Callable[[str, str, int, float], None]
"""Method, path of the route (empty: there is none), status, and seconds."""

_DIGITS = 18
_STREAMS: web.AppKey[set["asyncio.Task[Any]"]] = web.AppKey("streams")
"""The handlers that would not end by themselves."""
_LOOK_S = 1.0
"""How often a stream that has nothing to say looks whether its reader is there."""
_encoder = msgspec.json.Encoder(enc_hook=str)


def json_response(value: Any, status: int = 200) -> web.Response:
    """Returns an answer that carries a value as JSON; structs become objects."""
    return web.Response(body=_encoder.encode(value), status=status, content_type="application/json")


async def stream_response(request: Request, values: AsyncIterator[Any]) -> Response:
    """Answers with a line of JSON a value, until no more, the reader goes or the server stops.

    A slow reader slows the iterator, and nobody else.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    streams = request.app[_STREAMS]
    task = asyncio.current_task()
    assert task is not None, "a handler runs in a task"
    streams.add(task)
    watcher = asyncio.create_task(_end_without_reader(request, task), name="reader of a stream")
    try:
        async for value in values:
            await response.write(_encoder.encode(value) + b"\n")
    except (asyncio.CancelledError, ConnectionError):
        # The reader has gone, or the server stops: either way this answer ends here.
        return response
    finally:
        watcher.cancel()
        streams.discard(task)
    return response


async def _end_without_reader(request: Request, stream: "asyncio.Task[Any]") -> None:
    """Ends a stream whose reader has gone: without a line to write, it would not find out."""
    while request.transport is not None:
        await asyncio.sleep(_LOOK_S)
    stream.cancel()


def error_response(status: int, message: str) -> web.Response:
    """Returns `{"error": message}`."""
    return json_response({"error": message}, status)


async def read_body(request: Request, kind: type[Body]) -> Body:
    """Returns the request's body as a value of `kind`.

    Raises:
        InvalidValue: it is not; the text names the field.
    """
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:
        raise InvalidValue(f"{request.method} {request.path}: body: {error}") from error


def query_number(request: Request, name: str, default: int) -> int:
    """Returns a query parameter as a number.

    Raises:
        InvalidValue: it is not one.
    """
    text = request.query.get(name)
    return default if text is None else parse_number(text, f"query parameter {name}")


def parse_number(text: str, what: str) -> int:
    """Returns the number that a client wrote.

    Raises:
        InvalidValue: it is not one, or has more digits than anything we count; the text
            begins with `what`.
    """
    if not text.isdecimal() or len(text) > _DIGITS:
        raise InvalidValue(
            f"{what} is {text[:_DIGITS]!r}; it must be a number of at most {_DIGITS} digits"
        )
    return int(text)


async def _end_streams(application: web.Application) -> None:
    for task in application[_STREAMS]:
        task.cancel()


@web.middleware
async def _errors(request: Request, handler: Handler) -> Response:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return error_response(error.status, f"{request.method} {request.path}: {error.reason}")
    except NotFound as error:
        return error_response(404, str(error))
    except Conflict as error:
        return error_response(409, str(error))
    except InvalidValue as error:
        return error_response(400, str(error))
    except CiliaError as error:
        return error_response(500, str(error))
    except Exception as error:
        # The boundary of the API: one request that finds a bug must not end the agent.
        log.exception("request failed", extra={"path": request.path})
        return error_response(500, f"{request.method} {request.path}: {error!r}; see the log")


def _timed(observe: Observe) -> Middleware:
    """Returns a middleware that times answers, by the path of their route."""

    @web.middleware
    async def timed(request: Request, handler: Handler) -> Response:
        began = time.perf_counter()
        response = await handler(request)
        if not isinstance(response, web.Response):
            return response  # a stream lasts as long as its reader likes
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else ""
        observe(request.method, path, response.status, time.perf_counter() - began)
        return response

    return timed


class UnixServer:
    """A Service that answers requests on a unix socket.

    Args:
        path: The socket; a dead one in its place is removed. Mode 0660.
        routes: (method, path, handler); paths as aiohttp writes them: `/v1/endpoint/{id}`.
        name: The Service's name.
        observe: Is told of every answer.
    """

    def __init__(
        self,
        path: Path,
        routes: list[tuple[str, str, Handler]],
        name: str = "api",
        observe: Observe = lambda _method, _path, _status, _took_s: None,
    ) -> None:
        self.name = name
        self._observe = observe
        self._path = path
        self._routes = routes

    async def run(self, ready: asyncio.Event) -> None:
        """Serves until cancelled."""
        application = web.Application(
            middlewares=[_timed(self._observe), _errors], client_max_size=8 << 20
        )
        application[_STREAMS] = set()
        application.on_shutdown.append(_end_streams)
        for method, path, handler in self._routes:
            application.router.add_route(method, path, handler)
        runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        await runner.setup()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Bound under another name first, so that the socket never exists with a wide mode,
            # and a client sees either the old one (refused) or one that answers.
            fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            fresh.unlink(missing_ok=True)
            await web.UnixSite(runner, str(fresh)).start()
            fresh.chmod(0o660)
            fresh.rename(self._path)
            ready.set()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
