"""HTTP on a unix socket: JSON in, JSON out, errors as JSON."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from cilia.model.errors import CiliaError, Conflict, InvalidValue, NotFound

log = logging.getLogger(__name__)

Body = TypeVar("Body")

Request = web.Request
Response = web.StreamResponse
Handler = Callable[[Request], Awaitable[Response]]

_DIGITS = 18
_encoder = msgspec.json.Encoder(enc_hook=str)


def json_response(value: Any, status: int = 200) -> web.Response:
    """Returns an answer that carries a value as JSON; structs become objects."""
    return web.Response(body=_encoder.encode(value), status=status, content_type="application/json")


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


class UnixServer:
    """A Service that answers requests on a unix socket.

    Args:
        path: The socket; a dead one in its place is removed. Mode 0660.
        routes: (method, path, handler); paths as aiohttp writes them: `/v1/endpoint/{id}`.
        name: The Service's name.
    """

    def __init__(
        self, path: Path, routes: list[tuple[str, str, Handler]], name: str = "api"
    ) -> None:
        self.name = name
        self._path = path
        self._routes = routes

    async def run(self, ready: asyncio.Event) -> None:
        """Serves until cancelled."""
        application = web.Application(middlewares=[_errors], client_max_size=8 << 20)
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
