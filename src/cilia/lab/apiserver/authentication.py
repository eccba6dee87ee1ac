"""Who calls: a client certificate of this cluster, or a bearer token."""

import ssl
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from .certificates import CA, SERVER
from .errors import unauthorized

OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})
"""Paths that anybody may read."""


class User(msgspec.Struct, frozen=True):
    """An authenticated caller."""

    name: str
    groups: tuple[str, ...]


class Authenticator:
    """Knows the cluster's callers. Whoever is known may do everything."""

    def __init__(self, tokens: Path) -> None:
        """Reads the token file (JSON object, token -> user name), if there is one."""
        self._tokens: dict[str, str] = {}
        if tokens.exists():
            self._tokens = msgspec.json.decode(tokens.read_bytes(), type=dict[str, str])

    def user(self, request: web.BaseRequest) -> User:
        """The caller of a request.

        Raises:
            StatusError: Nobody that the server knows (401).
        """
        header = request.headers.get("Authorization", "")
        if header.startswith("Bearer "):
            name = self._tokens.get(header.removeprefix("Bearer ").strip())
            if name is None:
                raise unauthorized()
            return User(name, ("system:masters", "system:authenticated"))
        transport = request.transport
        peer: Any = transport.get_extra_info("peercert") if transport is not None else None
        if not peer:
            raise unauthorized()
        fields = [pair for part in peer.get("subject", ()) for pair in part]
        names = [value for key, value in fields if key == "commonName"]
        groups = tuple(value for key, value in fields if key == "organizationName")
        if not names:
            raise unauthorized()
        return User(names[0], (*groups, "system:authenticated"))


def server_context(certificates: Path) -> ssl.SSLContext:
    """TLS for the listeners: clients may show a certificate of this cluster's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates / f"{SERVER}.crt", certificates / f"{SERVER}.key")
    context.load_verify_locations(certificates / f"{CA}.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context
