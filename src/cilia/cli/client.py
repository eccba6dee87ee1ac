"""Asks the agent over its unix socket."""

import json
import socket
from pathlib import Path
from typing import Any

from cilia.cli.errors import ClientError
from cilia.wire.http10 import decode_answer, encode_request, error_text

Json = Any


class AgentClient:
    """One node's REST API.

    Args:
        path: the agent's unix socket.
        timeout_s: how long one answer may take.
        server: what it is called in errors.
    """

    def __init__(self, path: Path, timeout_s: float = 30.0, *, server: str = "agent") -> None:
        self._path = path
        self._server = server
        self._timeout_s = timeout_s

    def get(self, path: str, **query: str) -> Json:
        """The decoded JSON of a GET.

        Raises:
            ClientError: no agent there, or it answered with an error.
        """
        return self._request("GET", path, query, None)

    def patch(self, path: str, body: Json) -> Json:
        """Sends a PATCH with a JSON body; the decoded answer."""
        return self._request("PATCH", path, {}, body)

    def delete(self, path: str) -> Json:
        """Sends a DELETE; the decoded answer."""
        return self._request("DELETE", path, {}, None)

    def _request(self, method: str, path: str, query: dict[str, str], body: Json) -> Json:
        answer = self._exchange(encode_request(method, path, query, body))
        try:
            status, payload = decode_answer(answer)
        except ValueError:
            raise ClientError(
                f"{self._path} does not speak HTTP", f"is it the {self._server}'s socket?"
            ) from None
        if status >= 400:
            raise ClientError(f"{method} {path}: {error_text(payload) or status}")
        return json.loads(payload) if payload.strip() else None

    def _exchange(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as conn:
            conn.settimeout(self._timeout_s)
            try:
                conn.connect(str(self._path))
                conn.sendall(request)
                return b"".join(iter(lambda: conn.recv(1 << 16), b""))
            except TimeoutError:
                what = f"the {self._server} at {self._path} did not answer"
                raise ClientError(
                    f"{what} within {self._timeout_s:g} s",
                    "see its log; `cilia status --wait` waits until it is ready",
                ) from None
            except OSError as error:
                raise ClientError(
                    f"cannot reach the {self._server} at {self._path}: {error.strerror}",
                    "is it running? `cilia lab status` shows the lab's processes",
                ) from None
