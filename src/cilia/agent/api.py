"""The REST API on the agent's unix socket.

Paths and names are those of Cilium's agent where it has the same thing; `/v1/cni`,
`/v1/bpf`, `/v1/provenance`, `/v1/policy/status`, `/v1/revisions`, `/v1/why`, `/v1/events` and
`/v1/cluster/nodes/watch` (a line of JSON a change) are our own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from cilia.agent import kernel_views, views
from cilia.agent.endpoint_config import EndpointConfig, configure
from cilia.agent.health import status_response
from cilia.agent.parts import Parts
from cilia.agent.policy_views import policy_routes
from cilia.agent.selector_views import selectors_json
from cilia.agent.why import WhyRequest, WhySettings, why
from cilia.datapath.maps.capacity import MapUsage, usage, usages
from cilia.datapath.maps.conntrack import ConntrackMap
from cilia.datapath.maps.metric import event_stats
from cilia.endpoint.handler import CniHandler
from cilia.model.errors import InvalidValue, NotFound
from cilia.policy.contents import Enforcement
from cilia.policy.prefix_table import Worlds
from cilia.policy.syntax.context import Context
from cilia.runtime.settings import render_settings
from cilia.state.endpoints import EndpointRow
from cilia.wire.unixhttp import (
    Handler,
    Request,
    Response,
    json_response,
    parse_number,
    query_number,
    read_body,
    stream_response,
)

Route = tuple[str, str, Handler]
View = Callable[[Parts], Any]

PLAIN: dict[str, View] = {
    "/v1/cluster/nodes": views.nodes_json,
    "/v1/identity": views.identities_json,
    "/v1/identity/endpoints": views.identity_endpoints_json,
    "/v1/ip": views.ips_json,
    "/v1/policy": views.policy_json,
    "/v1/revisions": views.revisions_json,
    "/v1/service": views.services_json,
}
"""What is one table, as it is."""

KERNEL: dict[str, View] = {
    "/v1/bpf/ct": kernel_views.connection_rows,
    "/v1/bpf/endpoint": kernel_views.endpoint_rows,
    "/v1/bpf/lb": kernel_views.service_rows,
    "/v1/bpf/metrics": kernel_views.metric_rows,
    "/v1/bpf/nat": kernel_views.nat_rows,
}
"""What is one kernel map; read in a thread, for it may be large."""


def routes(parts: Parts, cni: CniHandler) -> list[Route]:
    """Returns every route of the API."""
    api = _Api(parts, cni)
    return [
        *(("GET", path, _plain(parts, view)) for path, view in PLAIN.items()),
        *(("GET", path, _in_thread(parts, view)) for path, view in KERNEL.items()),
        *policy_routes(parts),
        ("GET", "/v1/healthz", api.healthz),
        ("GET", "/v1/config", api.config),
        ("GET", "/v1/cluster/nodes/watch", api.watch_nodes),
        ("GET", "/v1/events", api.events),
        ("GET", "/v1/endpoint", api.endpoints),
        ("GET", "/v1/endpoint/{id}", api.endpoint),
        ("GET", "/v1/endpoint/{id}/config", api.endpoint_config),
        ("PATCH", "/v1/endpoint/{id}/config", api.configure_endpoint),
        ("GET", "/v1/endpoint/{id}/log", api.endpoint_log),
        ("GET", "/v1/endpoint/{id}/healthz", api.endpoint_health),
        ("GET", "/v1/identity/{id}", api.identity),
        ("GET", "/v1/map", api.maps),
        ("GET", "/v1/map/{name}", api.map),
        ("GET", "/v1/policy/selectors", api.selectors),
        ("GET", "/v1/provenance/{id}", api.provenance),
        ("GET", "/v1/why", api.why),
        ("GET", "/v1/bpf/ipcache", api.ipcache),
        ("GET", "/v1/bpf/policy", api.policy_map),
        ("DELETE", "/v1/bpf/ct", api.flush_connections),
        ("POST", "/v1/cni/{command}", api.cni),
    ]


def _plain(parts: Parts, view: View) -> Handler:
    async def handler(request: Request) -> Response:
        return json_response(view(parts))

    return handler


def _in_thread(parts: Parts, view: View) -> Handler:
    async def handler(request: Request) -> Response:
        return json_response(await asyncio.to_thread(view, parts))

    return handler


class _Api:
    """Routes that need more than one table."""

    def __init__(self, parts: Parts, cni: CniHandler) -> None:
        self._parts = parts
        self._cni = cni

    async def healthz(self, request: Request) -> Response:
        parts = self._parts
        found = await asyncio.to_thread(usages, parts.maps)
        lost = sum(event_stats(parts.maps).lost)
        return json_response(status_response(parts, found, lost))

    async def config(self, request: Request) -> Response:
        parts = self._parts
        settings = parts.settings.values
        told = {
            name: {"value": value, "source": origin}
            for name, (value, origin) in render_settings(parts.settings).items()
        }
        mode = {"policy-enforcement": settings.enable_policy, "options": {}}
        status = {
            "realized": mode,
            "daemonConfigurationMap": told,
            "datapathMode": "veth",
            "deviceMTU": parts.network.mtu,
            "routeMTU": parts.network.mtu,
            "ipam-mode": "kubernetes",
            "k8s-endpoint": parts.cluster.server,
            "addressing": views.node_json(parts.own, settings.cluster_name, parts.site.name)[
                "primary-address"
            ],
            "masquerade": settings.enable_ipv4_masquerade or settings.enable_ipv6_masquerade,
            "masqueradeProtocols": {
                "ipv4": settings.enable_ipv4_masquerade,
                "ipv6": settings.enable_ipv6_masquerade,
            },
        }
        return json_response({"spec": mode, "status": status})

    async def watch_nodes(self, request: Request) -> Response:
        async def states() -> AsyncIterator[Any]:
            with self._parts.tables.nodes.watch() as watch:
                async for batch in watch:
                    if batch.synced:  # before, others only seem to be missing
                        yield views.nodes_json(self._parts)

        return await stream_response(request, states())

    async def events(self, request: Request) -> Response:
        started, number = query_number(request, "started", 0), query_number(request, "from", 0)
        return await stream_response(request, self._parts.events.lines(started, number))

    async def endpoints(self, request: Request) -> Response:
        rows = sorted(self._parts.tables.endpoints, key=lambda row: row.id)
        return json_response([views.endpoint_json(self._parts, row) for row in rows])

    async def endpoint(self, request: Request) -> Response:
        return json_response(views.endpoint_json(self._parts, self._endpoint(request)))

    async def endpoint_config(self, request: Request) -> Response:
        row = self._endpoint(request)
        return json_response(configure(self._parts, row, EndpointConfig()))

    async def configure_endpoint(self, request: Request) -> Response:
        chosen = await read_body(request, EndpointConfig)
        return json_response(configure(self._parts, self._endpoint(request), chosen))

    async def endpoint_log(self, request: Request) -> Response:
        return json_response(self._parts.endpoints.journal.of(self._endpoint(request).id))

    async def endpoint_health(self, request: Request) -> Response:
        return json_response(views.endpoint_health(self._endpoint(request)))

    def _endpoint(self, request: Request) -> EndpointRow:
        name = request.match_info["id"]
        table = self._parts.tables.endpoints
        if name.isdecimal():
            number = parse_number(name, "endpoint")
            found = [row for row in [table.get(number)] if row is not None]
        elif name.startswith("container-id:"):
            found = table.by("container", name.partition(":")[2])
        elif name.startswith("pod-name:") and name.count(":") == 2:
            found = table.by("pod", tuple(name.split(":")[1:]))
        else:
            raise InvalidValue(
                f"endpoint {name!r}: write a number, container-id:ID or pod-name:NAMESPACE:NAME"
            )
        if not found:
            raise NotFound(f"endpoint {name}: not on this node; see `cilia endpoint list`")
        return found[0]

    async def identity(self, request: Request) -> Response:
        number = _number(request, "identity")
        for each in views.identities_json(self._parts):
            if each["id"] == number:
                return json_response(each)
        raise NotFound(f"identity {number}: not known here; see `cilia identity list`")

    async def selectors(self, request: Request) -> Response:
        return json_response(selectors_json(self._parts.policy.engine))

    async def provenance(self, request: Request) -> Response:
        number = _number(request, "provenance")
        rules = self._parts.policy.engine.rules(number)
        if number and not rules:
            raise NotFound(f"provenance {number}: no rule has this number any more")
        table = self._parts.tables.policies
        told = [views.rule_json(rule, table) for rule in rules]
        return json_response({"id": number, "rules": told})

    async def why(self, request: Request) -> Response:
        parts, query = self._parts, request.query
        settings = parts.settings.values
        asked = WhyRequest(
            query.get("from", ""),
            query.get("to", ""),
            query.get("port", ""),
            query.get("protocol") or "TCP",
        )
        told = WhySettings(
            context=Context(
                cluster=settings.cluster_name,
                nodes_by_label=settings.enable_node_selector_labels,
            ),
            enforcement=Enforcement(settings.enable_policy),
            allow_node=settings.allow_localhost,
            worlds=Worlds(settings.enable_ipv4, settings.enable_ipv6),
            cidr_matches=frozenset(settings.policy_cidr_match_mode),
        )
        policy = parts.policy
        return json_response(why(parts.tables, policy.engine, asked, told, policy.sync.error))

    async def maps(self, request: Request) -> Response:
        found = await asyncio.to_thread(usages, self._parts.maps)
        return json_response({"maps": [self._map_json(each) for each in found]})

    async def map(self, request: Request) -> Response:
        name = request.match_info["name"]
        target = self._parts.maps.get(name)
        if target is None:
            names = ", ".join(sorted(self._parts.maps))
            raise NotFound(f"map {name}: there is none of that name; there are {names}")
        rows = await asyncio.to_thread(kernel_views.map_rows, target)
        return json_response({**self._map_json(usage(target)), "cache": rows})

    def _map_json(self, found: MapUsage) -> dict[str, Any]:
        return {
            "path": str(self._parts.site.bpffs / "maps" / found.name),
            "kind": found.kind,
            "entries": found.rows if found.rows is not None else found.capacity,
            "capacity": found.capacity,
            "errors": found.refused,
        }

    async def ipcache(self, request: Request) -> Response:
        match = request.query.get("match", "")
        rows = await asyncio.to_thread(kernel_views.ipcache_rows, self._parts, match)
        return json_response(rows)

    async def policy_map(self, request: Request) -> Response:
        endpoint = query_number(request, "endpoint", 0)
        rows = await asyncio.to_thread(kernel_views.policy_rows, self._parts, endpoint)
        return json_response(rows)

    async def flush_connections(self, request: Request) -> Response:
        gone = await asyncio.to_thread(ConntrackMap(self._parts.maps).clear)
        return json_response({"deleted": gone})

    async def cni(self, request: Request) -> Response:
        command = request.match_info["command"]
        status, answer = await self._cni.handle(command, await request.read())
        return json_response(answer, status)


def _number(request: Request, what: str) -> int:
    return parse_number(request.match_info["id"], what)
