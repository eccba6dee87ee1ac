"""What the REST API says of policies as a whole: status, hits, conflicts."""

import asyncio
from typing import Any

from cilia.agent.parts import Parts
from cilia.agent.views import rule_json
from cilia.datapath.maps.conntrack import ConntrackMap
from cilia.policy.resolution import provenance_rule
from cilia.wire.unixhttp import Handler, Request, Response, json_response

Json = dict[str, Any]
Route = tuple[str, str, Handler]


def policy_routes(parts: Parts) -> list[Route]:
    """Returns the routes below /v1/policy that need more than one table."""

    async def status(request: Request) -> Response:
        parts.enforcement.look()
        return json_response(statuses_json(parts))

    async def stats(request: Request) -> Response:
        await asyncio.to_thread(observe, parts)
        parts.fold_hits()
        return json_response(stats_json(parts))

    return [("GET", "/v1/policy/status", status), ("GET", "/v1/policy/stats", stats)]


def observe(parts: Parts) -> None:
    """Takes the connections as they are now into the account."""
    parts.hits.observe(*ConntrackMap(parts.maps).columns())


def stats_json(parts: Parts) -> Json:
    """Returns what each rule has let through; what denies is not counted."""
    found = []
    for policy in sorted(parts.policy.engine.subjects.policies.values(), key=lambda p: p.key):
        for spec in policy.specs:
            for entry in spec.entries:
                rule = provenance_rule(policy.key, entry, spec.log)
                hits = parts.hits.of(rule)
                found.append(
                    {
                        **rule_json(rule),
                        "counted": not entry.deny,
                        "connections": hits.connections,
                        "packets": hits.packets,
                        "bytes": hits.bytes,
                        "last-hit": parts.hits.last_hit(hits),
                    }
                )
    return {"since": parts.hits.since, "rules": found}


def statuses_json(parts: Parts) -> list[Json]:
    """Returns what became of each policy object on this node."""
    numbers = {row.key: row.endpoints for row in parts.tables.policy_statuses}
    return [
        {
            "kind": row.key[0],
            "namespace": row.key[1],
            "name": row.key[2],
            "generation": row.generation,
            "valid": not row.error,
            "error": row.error,
            "warnings": list(row.warnings),
            "revision": row.revision,
            "rules": row.rules,
            "endpoints": list(numbers.get(row.key, ())),
            "selected": len(row.endpoints),
            "enforced": row.enforced,
            "pods": list(row.endpoints),
            "missing": list(row.missing),
            "reason": row.reason,
        }
        for row in sorted(parts.tables.policy_enforcements, key=lambda row: row.key)
    ]
