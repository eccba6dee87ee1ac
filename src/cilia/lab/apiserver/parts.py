"""Requests to subresources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from .errors import Json, method_not_allowed, no_resource
from .kubelet import KubeletProxy
from .negotiation import read_body
from .service import Cluster
from .storage import encode
from .subresources import bind, evict, scale_of, token_request, write_scale

if TYPE_CHECKING:
    from .server import Call

_STREAMS = frozenset({"log", "exec", "attach", "portforward"})
_OBJECT_PARTS = frozenset({"status", "finalize", "resize", "ephemeralcontainers"})


class Parts:
    """Answers requests to the subresources of objects."""

    def __init__(self, cluster: Cluster, kubelets: KubeletProxy) -> None:
        self._cluster = cluster
        self._kubelets = kubelets

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answers one request.

        Raises:
            StatusError: The resource has no such subresource (404), or not for this verb (405).
        """
        part = call.route.subresource
        if part not in call.resource.subresources or call.route.rest:
            raise no_resource()
        if call.resource.namespaced and not call.route.namespace:
            raise no_resource()
        if part in _STREAMS:
            return await self._kubelets.serve(call.request, call.resource, call.key, part)
        method = call.request.method
        if method in ("GET", "HEAD") and part in _OBJECT_PARTS | {"scale"}:
            item = self._cluster.rest.get(call.resource, call.key)
            return _json(scale_of(call.resource, item) if part == "scale" else item)
        if method not in ("PUT", "PATCH", "POST"):
            raise method_not_allowed()
        body = await read_body(call.request)
        if method == "POST":
            return _json(self._post(call, part, body), 201)
        kind = call.request.content_type if method == "PATCH" else ""
        return _json(self._write(call, part, kind, body))

    def _post(self, call: Call, part: str, body: Any) -> Json:
        if part == "binding":
            return bind(self._cluster.rest, call.resource, call.key, body, call.options)
        if part == "eviction":
            return evict(self._cluster.deleter, call.resource, call.key, body, call.options)
        if part == "token":
            self._cluster.rest.get(call.resource, call.key)
            return token_request(body)
        raise method_not_allowed()

    def _write(self, call: Call, part: str, kind: str, body: Any) -> Json:
        rest, resource, key = self._cluster.rest, call.resource, call.key
        if part == "scale":
            return write_scale(rest, resource, key, kind, body, call.options)
        if part not in _OBJECT_PARTS:
            raise method_not_allowed()
        if kind:
            return rest.patch(resource, key, kind, body, call.options, part)
        return rest.update(resource, key, body, call.options, part)


def _json(body: Json, code: int = 200) -> web.Response:
    return web.Response(body=encode(body), status=code, content_type="application/json")
