"""Asks the agent over its unix socket.

HTTP/1.0 on purpose: the answer ends with the connection, so a request is a
dozen lines, where the standard library's client costs a third of a command's
start-up budget in imports.

Source: RFC 1945.
"""

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cilia.cli.errors import ClientError

Json = Any


class AgentClient:
    """One node's REST API.

    Args:
        path: the agent's unix socket.
        timeout_s: how long one answer may take.
    """

    def __init__(self, path: Path, timeout_s: float = 30.0) -> None:
        self._path = path
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
        target = quote(path)
        if query:
            target += "?" + "&".join(f"{quote(k)}={quote(v)}" for k, v in query.items())
        payload = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {target} HTTP/1.0\r\nHost: cilia\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        status, answer = self._exchange(head.encode() + payload)
        if status >= 400:
            raise ClientError(f"{method} {path}: {_message(answer) or status}", exit_code=1)
        return json.loads(answer) if answer.strip() else None

    def _exchange(self, request: bytes) -> tuple[int, bytes]:
        with socket.socket(socket.AF_UNIX) as conn:
            conn.settimeout(self._timeout_s)
            try:
                conn.connect(str(self._path))
                conn.sendall(request)
                chunks = list(iter(lambda: conn.recv(1 << 16), b""))
            except TimeoutError:
                raise ClientError(
                    f"the agent at {self._path} did not answer within {self._timeout_s:g} s",
                    "see its log; `cilia status --wait` waits until it is ready",
                ) from None
            except OSError as error:
                raise ClientError(
                    f"cannot reach the agent at {self._path}: {error.strerror}",
                    "is it running? `cilia lab status` shows the lab's processes",
                ) from None
        head, _, answer = b"".join(chunks).partition(b"\r\n\r\n")
        try:
            return int(head.split(None, 2)[1]), answer
        except (IndexError, ValueError):
            raise ClientError(
                f"{self._path} does not speak HTTP", "is it the agent's socket?"
            ) from None


def _message(answer: bytes) -> str:
    """The text of an error answer: its `message`, or the plain body."""
    try:
        decoded = json.loads(answer)
    except ValueError:
        return answer.decode(errors="replace").strip()
    if isinstance(decoded, dict):
        return str(decoded.get("message") or decoded.get("error") or decoded)
    return str(decoded)
