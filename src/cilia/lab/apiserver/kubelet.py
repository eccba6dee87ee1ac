"""Logs and streams of a pod's containers, from its node's kubelet."""

from pathlib import Path

from aiohttp import web

from .errors import unavailable
from .resources import Resource
from .rest import Rest
from .storage import Key


class KubeletProxy:
    """Forwards to the kubelets' sockets."""

    def __init__(self, rest: Rest, kubelets: Path | None) -> None:
        self._rest = rest
        self._kubelets = kubelets

    async def serve(
        self, request: web.BaseRequest, resource: Resource, key: Key, part: str
    ) -> web.StreamResponse:
        """Answers a request for a pod's `log`, `exec`, `attach` or `portforward`."""
        self._rest.get(resource, key)
        raise unavailable("not connected")
