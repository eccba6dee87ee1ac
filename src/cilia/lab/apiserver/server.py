"""The HTTP side: from a request to an answer."""

import asyncio
import logging
from typing import Any

import msgspec
from aiohttp import web

from . import discovery, lists
from .authentication import OPEN_PATHS, Authenticator, User
from .config import ApiServerConfig
from .deletion import delete_all, delete_options
from .errors import (
    Json,
    StatusError,
    internal,
    method_not_allowed,
    no_resource,
    unsupported_media,
)
from .kubelet import KubeletProxy
from .negotiation import Shape, read_body, shape
from .openapi import OpenApi
from .openapi_v2 import PROTOBUF_V2, json_v2, protobuf_v2
from .options import WriteOptions, write_options
from .parts import Parts
from .resources import Resource
from .route import Route, parse_path, resource_route
from .service import Cluster
from .storage import encode
from .subresources import review
from .tables import partial_metadata, table
from .watch import Watch, watch_options

log = logging.getLogger(__name__)

_WARNINGS, _WARNING_LENGTH = 16, 256
"""Together as much as Kubernetes puts into headers."""
_PATCHES = frozenset(
    {
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    }
)


class Call(msgspec.Struct, frozen=True):
    """One request to a resource."""

    request: web.BaseRequest
    resource: Resource
    route: Route
    shape: Shape
    user: User

    @property
    def key(self) -> tuple[str, str]:
        """The store's key of the object."""
        return self.route.namespace, self.route.name

    @property
    def options(self) -> WriteOptions:
        """The write options of the query."""
        agent = self.request.headers.get("User-Agent", "")
        return write_options(self.request.query, agent)


class Server:
    """Answers requests about one cluster."""

    def __init__(self, cluster: Cluster, config: ApiServerConfig) -> None:
        self._cluster = cluster
        self._authenticator = Authenticator(config.tokens)
        self._openapi = OpenApi(cluster.registry)
        self._parts = Parts(cluster, KubeletProxy(cluster.rest, config.kubelets))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; every failure is a `Status`."""
        try:
            return await self._answer(request)
        except StatusError as error:
            return respond(error.to_status(), error.code)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            # The boundary: a defect answers this request, and the others go on.
            log.exception("request failed", extra={"path": request.rel_url.raw_path})
            failure = internal(f"{type(error).__name__}: {error}")
            return respond(failure.to_status(), failure.code)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in OPEN_PATHS or path.startswith(("/livez/", "/readyz/", "/healthz/")):
            return _open_answer(path)
        user = self._authenticator.user(request)
        segments = parse_path(path)
        route = resource_route(segments)
        if route is None or not route.plural:
            return self._information(request, segments)
        resource = self._cluster.registry.find(route.group, route.version, route.plural)
        if resource is None:
            raise no_resource()
        if resource.namespaced is False and route.namespace:
            raise no_resource()
        call = Call(request, resource, route, shape_of(request), user)
        if route.subresource:
            return await self._parts.answer(call)
        return await self._resource(call)

    def _information(self, request: web.BaseRequest, segments: list[str]) -> web.Response:
        """Discovery and OpenAPI."""
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        registry = self._cluster.registry
        match segments:
            case [""]:
                return respond({"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]})
            case ["api"] | ["apis"]:
                return self._roots(request, segments[0])
            case ["api", version]:
                body: Any = discovery.resource_list(registry, "", version)
            case ["apis", group]:
                body = discovery.group(registry, group)
            case ["apis", group, version]:
                body = discovery.resource_list(registry, group, version)
            case ["openapi", "v3"]:
                body = self._openapi.index()
            case ["openapi", "v3", *rest]:
                body = self._openapi.document("/".join(rest))
            case ["openapi", "v2"]:
                return _openapi_v2(request)
            case _:
                body = None
        if body is None:
            raise no_resource()
        return respond(body)

    def _roots(self, request: web.BaseRequest, root: str) -> web.Response:
        registry = self._cluster.registry
        wanted = shape(request.headers.get("Accept", ""))
        if version := wanted.discovery:
            body = discovery.aggregated(registry, version, core=root == "api")
            kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            return respond(body, content_type=kind)
        if root == "api":
            return respond(discovery.core_versions(request.host))
        return respond(discovery.group_list(registry))

    async def _resource(self, call: Call) -> web.StreamResponse:
        method = call.request.method
        named = bool(call.route.name)
        if method in ("GET", "HEAD"):
            return await self._read(call)
        if method == "POST" and not named:
            return await self._create(call)
        if method in ("PUT", "PATCH") and named:
            self._require(call, "update")
            if call.resource.namespaced and not call.route.namespace:
                raise no_resource()
            write = self._put if method == "PUT" else self._patch
            return await write(call)
        if method == "DELETE":
            self._require(call, "delete")
            return await (self._delete(call) if named else self._delete_collection(call))
        raise method_not_allowed()

    def _require(self, call: Call, verb: str) -> None:
        if verb not in call.resource.verbs:
            raise method_not_allowed()

    async def _read(self, call: Call) -> web.StreamResponse:
        self._require(call, "get")
        query, resource, route = call.request.query, call.resource, call.route
        store = self._cluster.store
        if query.get("watch", "") in ("true", "1"):
            tests = lists.matchers(resource, query)
            if route.name:
                tests.append(lambda item: bool(item["metadata"]["name"] == route.name))
            include = query.get("includeObject", "Metadata")
            watch = Watch(store, resource, route.namespace, tests, call.shape, include)
            return await watch.serve(call.request, watch_options(query))
        if route.name:
            if resource.namespaced and not route.namespace:
                raise no_resource()
            return answer(call, self._cluster.rest.get(resource, call.key))
        return respond(lists.answer(store, resource, route.namespace, query, call.shape))

    async def _create(self, call: Call) -> web.Response:
        self._require(call, "create")
        body = await read_body(call.request)
        if "list" not in call.resource.verbs:
            return respond(review(call.resource, body, call.user), 201)
        namespace = call.route.namespace
        if call.resource.namespaced and not namespace:
            raise no_resource()
        options = call.options
        item = self._cluster.rest.create(call.resource, namespace, body, options)
        return answer(call, item, 201, options)

    async def _put(self, call: Call) -> web.Response:
        body = await read_body(call.request)
        options = call.options
        item = self._cluster.rest.update(call.resource, call.key, body, options)
        return answer(call, item, options=options)

    async def _patch(self, call: Call) -> web.Response:
        kind = patch_kind(call.request)
        body = await read_body(call.request)
        options = call.options
        existed = self._cluster.store.get(call.resource.key, call.key) is not None
        item = self._cluster.rest.patch(call.resource, call.key, kind, body, options)
        return answer(call, item, 200 if existed else 201, options)

    async def _delete(self, call: Call) -> web.Response:
        body = await read_body(call.request)
        options = delete_options(body, dict(call.request.query))
        if call.resource.namespaced and not call.route.namespace:
            raise no_resource()
        item, gone = self._cluster.deleter.delete(call.resource, call.key, options, call.options)
        if gone and call.resource.key != "pods":
            return respond(_deleted(call.resource, item))
        return answer(call, item)

    async def _delete_collection(self, call: Call) -> web.Response:
        body = await read_body(call.request)
        query = dict(call.request.query)
        options = delete_options(body, query)
        items = lists.selected(self._cluster.store, call.resource, call.route.namespace, query)
        gone = delete_all(self._cluster.deleter, call.resource, items, options, call.options)
        body = {
            "kind": f"{call.resource.kind}List",
            "apiVersion": call.resource.api_version,
            "metadata": {"resourceVersion": str(self._cluster.store.revision)},
            "items": gone,
        }
        return respond(body)


def shape_of(request: web.BaseRequest) -> Shape:
    """The shape that a request asks for; writes and streams answer JSON whatever it says."""
    try:
        return shape(request.headers.get("Accept", ""))
    except StatusError:
        if request.headers.get("Upgrade") or "/log" in request.rel_url.raw_path:
            return Shape()
        raise


def patch_kind(request: web.BaseRequest) -> str:
    """The media type of a patch.

    Raises:
        StatusError: It is none of the four (415).
    """
    kind = request.content_type
    if kind not in _PATCHES:
        raise unsupported_media(kind, ", ".join(sorted(_PATCHES)))
    return kind


def answer(
    call: Call, item: Json, code: int = 200, options: WriteOptions | None = None
) -> web.Response:
    """One object in the shape that the client asked for, with the write's warnings."""
    body = item
    if call.shape.kind == "Table":
        metadata = {"resourceVersion": item["metadata"].get("resourceVersion", "")}
        include = call.request.query.get("includeObject", "Metadata")
        body = table(call.resource, [item], metadata=metadata, include=include)
    elif call.shape.kind:
        body = partial_metadata(item)
    response = respond(body, code)
    for text in (options.warnings if options else [])[:_WARNINGS]:
        response.headers.add("Warning", f'299 - "{_quotable(text)}"')
    return response


def _quotable(text: str) -> str:
    """A warning as part of a header; it may repeat whatever a client wrote."""
    plain = "".join(one if " " <= one <= "~" else "?" for one in text[:_WARNING_LENGTH])
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def respond(body: Any, code: int = 200, content_type: str = "application/json") -> web.Response:
    """A JSON answer; bytes are JSON already."""
    raw = body if isinstance(body, bytes) else encode(body)
    return web.Response(
        body=raw,
        status=code,
        headers={"Content-Type": content_type, "Cache-Control": "no-cache, private"},
    )


def _open_answer(path: str) -> web.Response:
    if path == "/version":
        return respond(discovery.VERSION)
    return web.Response(text="ok")


def _openapi_v2(request: web.BaseRequest) -> web.Response:
    if "protobuf" in request.headers.get("Accept", ""):
        return respond(protobuf_v2(), content_type=PROTOBUF_V2)
    return respond(json_v2())


def _deleted(resource: Resource, item: Json) -> Json:
    details = {
        "name": item["metadata"]["name"],
        "group": resource.group,
        "kind": resource.plural,
        "uid": item["metadata"]["uid"],
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }
