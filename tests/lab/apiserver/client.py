"""A plain HTTPS client with the administrator's certificate."""

import http.client
import json
import ssl
from collections.abc import Generator
from typing import Any

from lab.apiserver.process import ApiServerProcess


def context(api: ApiServerProcess, *, certificate: bool = True) -> ssl.SSLContext:
    """TLS that trusts the server; with or without a client certificate."""
    made = ssl.create_default_context(cafile=str(api.certificates / "ca.crt"))
    if certificate:
        made.load_cert_chain(api.certificates / "admin.crt", api.certificates / "admin.key")
    return made


class Client:
    """One connection."""

    def __init__(self, api: ApiServerProcess, *, certificate: bool = True) -> None:
        self.token = ""
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", api.port, context=context(api, certificate=certificate), timeout=30
        )

    def raw(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        headers = {"Content-Type": kind} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded body; fails unless the status is 2xx."""
        raw = None if body is None else json.dumps(body).encode()
        status, content = self.raw(method, path, raw)
        assert 200 <= status < 300, content.decode()
        return json.loads(content)

    def watch(self, path: str) -> Generator[dict[str, Any], None, None]:
        """The events of a watch, as they come."""
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        assert answer.status == 200, answer.read()
        try:
            while line := answer.readline():
                yield json.loads(line)
        finally:
            answer.close()

    def close(self) -> None:
        self._connection.close()


def config_map(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"metadata": {"name": name}, "data": data}
