"""What the REST API says of policies as a whole: status, hits, conflicts."""

from typing import Any

from cilia.agent.parts import Parts
from cilia.wire.unixhttp import Handler, Request, Response, json_response

Json = dict[str, Any]
Route = tuple[str, str, Handler]


def policy_routes(parts: Parts) -> list[Route]:
    """Returns the routes below /v1/policy that need more than one table."""

    async def status(request: Request) -> Response:
        parts.enforcement.look()
        return json_response(statuses_json(parts))

    return [("GET", "/v1/policy/status", status)]


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
