"""A Kubernetes client: requests on dicts, and list+watch that heals itself.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import logging
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import aiohttp
import msgspec

from cilia.model.errors import CiliaError
from cilia.wire.credentials import Credentials, from_cluster, from_kubeconfig
from cilia.wire.listwatch import Changed, Gone, ListWatch, Synced

__all__ = ["ApiError", "ApiUnreachable", "Changed", "Gone", "KubernetesClient", "Synced"]

log = logging.getLogger(__name__)

Object = dict[str, Any]
Item = TypeVar("Item")

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"


class ApiError(CiliaError):
    """The API server refused a request.

    Attributes:
        status: HTTP status code.
        reason: The machine-readable reason of the Status object (`NotFound`, `Conflict`,
            `AlreadyExists`, `Invalid`, `Expired` …), or "".
        message: The server's own words.
    """

    def __init__(self, status: int, reason: str, message: str, doing: str = "") -> None:
        super().__init__(f"{doing}: {message}" if doing else message)
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def is_conflict(self) -> bool:
        """Whether somebody else wrote the object first (or it exists already)."""
        return self.status == 409

    @property
    def is_missing(self) -> bool:
        """Whether the object or its kind does not exist."""
        return self.status == 404


class ApiUnreachable(CiliaError):
    """The API server did not answer: it is away, or the network to it is."""


class _Status(msgspec.Struct):
    reason: str = ""
    message: str = ""


class KubernetesClient:
    """One API server, reached over a pool of kept connections.

    Use it as an async context manager. Objects are plain dicts, as JSON has them.

    Attributes:
        last_error: What the latest request met, or "" when it was answered.
        changed_at: When `last_error` last went from or to "" (seconds since the epoch).
        observe: Is told of every request: method, path, status (0: no answer came), and the
            seconds until the answer began.
    """

    def __init__(self, credentials: Credentials, *, timeout_s: float = 10.0) -> None:
        self.credentials = credentials
        self.last_error = "no request was made yet"
        self.changed_at = time.time()
        self.observe: Callable[[str, str, int, float], None] = _ignore
        self._limits = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path | str, *, context: str = "") -> "KubernetesClient":
        """Returns a client for a kubeconfig's current (or the named) context."""
        return cls(from_kubeconfig(Path(path), context))

    @classmethod
    def from_cluster(cls, environment: Mapping[str, str]) -> "KubernetesClient":
        """Returns a client with the service account of the pod that we run in."""
        return cls(from_cluster(environment))

    async def __aenter__(self) -> "KubernetesClient":
        connector = aiohttp.TCPConnector(limit=64, socket_factory=_keepalive_socket)
        self._session = aiohttp.ClientSession(connector=connector)
        self._tls = self.credentials.tls()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # Requests on one object or collection

    async def get(self, path: str, **query: str) -> Object:
        """Returns what is at `path`; `query` becomes the URL's query string."""
        return await self._ask("GET", path, query=query)

    async def create(self, path: str, body: Object, **query: str) -> Object:
        """Creates an object in a collection, and returns it as stored."""
        return await self._ask("POST", path, body=body, query=query)

    async def replace(self, path: str, body: Object, **query: str) -> Object:
        """Replaces an object; with a resourceVersion in it, only that version."""
        return await self._ask("PUT", path, body=body, query=query)

    async def patch(self, path: str, body: Any, *, kind: str = MERGE, **query: str) -> Object:
        """Changes an object: `kind` is one of MERGE, JSON_PATCH, STRATEGIC, APPLY."""
        return await self._ask("PATCH", path, body=body, query=query, content_type=kind)

    async def delete(self, path: str, body: Object | None = None, **query: str) -> Object:
        """Deletes an object; `body` may hold DeleteOptions with preconditions."""
        return await self._ask("DELETE", path, body=body, query=query)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        data = None if body is None else msgspec.json.encode(body)
        payload = await self._read(method, path, query or {}, data, content_type, self._limits)
        try:
            decoded = msgspec.json.decode(payload) if payload else {}
        except msgspec.DecodeError as error:
            raise ApiError(
                200, "", f"the answer is not JSON: {error}", f"{method} {path}"
            ) from error
        return decoded if isinstance(decoded, dict) else {"items": decoded}

    async def _read(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: bytes | None,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> bytes:
        response = await self._open(method, path, query, data, content_type, limits)
        doing = f"{method} {path}"
        try:
            payload = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(doing, error) from error
        finally:
            response.release()
        if response.status >= 400:
            raise api_error(response.status, payload, doing)
        return payload

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: bytes | None,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("KubernetesClient is used outside its `async with` block")
        headers = {"Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = content_type
        doing = f"{method} {path}"
        began = time.perf_counter()
        try:
            if token := self.credentials.bearer():
                headers["Authorization"] = f"Bearer {token}"
            response = await self._session.request(
                method,
                self.credentials.server + path,
                params=query,
                data=data,
                headers=headers,
                timeout=limits,
                ssl=self._tls if self._tls is not None else True,
                server_hostname=self.credentials.server_name,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.observe(method, path, 0, time.perf_counter() - began)
            raise self._unreachable(doing, error) from error
        self.observe(method, path, response.status, time.perf_counter() - began)
        self._note("")
        return response

    def _unreachable(self, doing: str, error: BaseException) -> ApiUnreachable:
        cause = str(error) or type(error).__name__
        self._note(cause)
        return ApiUnreachable(f"{doing} at {self.credentials.server}: {cause}")

    def _note(self, error: str) -> None:
        if bool(error) != bool(self.last_error):
            self.changed_at = time.time()
            if error:
                log.warning(
                    "API server is away",
                    extra={"server": self.credentials.server, "error": error},
                )
            else:
                log.info("API server answers", extra={"server": self.credentials.server})
        self.last_error = error

    # Collections as they change

    @overload
    def list_watch(
        self, path: str, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[Synced[Object] | Changed[Object] | Gone[Object]]: ...
    @overload
    def list_watch(
        self,
        path: str,
        item_type: type[Item],
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Synced[Item] | Changed[Item] | Gone[Item]]: ...
    def list_watch(
        self,
        path: str,
        item_type: Any = Object,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Any]:
        """Yields a collection's content and then its changes, for ever.

        First comes one `Synced` with every item, then a `Changed` or `Gone` per
        event. A cut connection is resumed where it broke; when the server has
        forgotten that place (410), everything is listed again and a new `Synced`
        says what is there now: whoever keeps a copy removes what it does not name.
        Errors never come out: they are logged, noted in `last_error`, and retried
        with growing pauses.

        Args:
            path: The collection, e.g. `/api/v1/pods`.
            item_type: What to decode items to; a Struct with few fields costs much
                less memory and time than a dict.
            label_selector: Only objects whose labels match.
            field_selector: Only objects whose fields match, e.g. `spec.nodeName=n1`.
        """
        return ListWatch(self, path, item_type, label_selector, field_selector).run()

    async def open_list(self, path: str, query: Mapping[str, str]) -> bytes:
        """Returns the raw answer to one page of a list call."""
        limits = aiohttp.ClientTimeout(total=60)
        return await self._read("GET", path, query, None, "", limits)

    async def open_watch(
        self, path: str, query: Mapping[str, str], idle_s: float
    ) -> AsyncGenerator[bytes, None]:
        """Yields the lines of one watch call until the server ends it.

        Raises:
            ApiUnreachable: the connection broke, or was silent for `idle_s` seconds.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=idle_s)
        response = await self._open("GET", path, query, None, "", limits)
        try:
            if response.status >= 400:
                raise api_error(response.status, await response.read(), f"watch {path}")
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(f"watch {path}", error) from error
        finally:
            response.close()


def api_error(status: int, payload: bytes, doing: str) -> ApiError:
    """Returns the error that a Status object (or any other error body) tells of."""
    try:
        told = msgspec.json.decode(payload, type=_Status)
    except msgspec.DecodeError:
        told = _Status(message=payload[:200].decode(errors="replace").strip())
    return ApiError(status, told.reason, told.message or f"HTTP status {status}", doing)


def _ignore(_method: str, _path: str, _status: int, _took_s: float) -> None:
    """Keeps no count."""


def _keepalive_socket(address: Any) -> socket.socket:
    """Returns a socket that notices within a minute that its peer has vanished."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    made.setblocking(False)
    return made
