"""What the REST API says of policies as a whole: status, hits, conflicts."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import msgspec

from cilia.agent.parts import Parts
from cilia.agent.rule_hits import Hits
from cilia.agent.views import rule_json
from cilia.model.identities import ReservedIdentity, Scope, reserved_labels, scope_of
from cilia.model.rules import Direction, Policy
from cilia.policy import facts
from cilia.policy.conflicts import Conflicts, find_conflicts
from cilia.policy.contents import ALWAYS_MODE, closer, mode_closer
from cilia.policy.extents import Party, Population
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.resolution import World, groups_by_name, provenance_rule
from cilia.runtime.table import Table
from cilia.state.ipcache import IpcacheRow
from cilia.state.policies import PolicyObject
from cilia.wire.unixhttp import Handler, Request, Response, json_response

Json = dict[str, Any]
WORLDS = (ReservedIdentity.WORLD, ReservedIdentity.WORLD_IPV4, ReservedIdentity.WORLD_IPV6)
"""Addresses outside are compared as addresses."""
Route = tuple[str, str, Handler]


def policy_routes(parts: Parts) -> list[Route]:
    """Returns the routes below /v1/policy that need more than one table."""

    async def status(request: Request) -> Response:
        parts.enforcement.look()
        return json_response(statuses_json(parts))

    async def stats(request: Request) -> Response:
        await parts.accounting.look()
        return json_response(stats_json(parts))

    async def conflicts(request: Request) -> Response:
        policies = list(parts.policy.engine.subjects.policies.values())
        found = await asyncio.to_thread(find_conflicts, policies, population(parts))
        return json_response(conflicts_json(found, parts.tables.policies))

    return [
        ("GET", "/v1/policy/status", status),
        ("GET", "/v1/policy/stats", stats),
        ("GET", "/v1/policy/conflicts", conflicts),
    ]


def population(parts: Parts) -> Population:
    """Returns everybody in the cluster whom rules can be about."""
    tables = parts.tables
    pods = {
        (row.identity, facts.named_ports(row.named_ports))
        for table in (tables.endpoints, tables.remote_endpoints)
        for row in table
        if row.identity is not None
    }
    used = {identity for identity, _ in pods}
    labels = {row.number: row.labels for row in tables.identities} | reserved_labels()
    peers = {
        number: Party(found, facts.identity_ports(tables, number))
        for number, found in labels.items()
        if (number in used or scope_of(number) is not Scope.CLUSTER) and number not in WORLDS
    }
    named: dict[str, set[tuple[int, int]]] = {}
    for name, protocol, port in (each for peer in peers.values() for each in peer.ports):
        named.setdefault(name, set()).add((protocol, port))
    groups = [facts.group_of(row) for row in tables.cidr_groups]
    services = facts.services_of(tables.services, tables.endpoint_slices)
    world = World(
        groups_by_name(groups),
        {(each.namespace, each.name): each for each in services},
        named,
    )
    subjects = [Party(labels[number], ports) for number, ports in pods if number in labels]
    settings = parts.settings.values
    modes = frozenset(settings.policy_cidr_match_mode)
    met = [*placed_peers(peers, tables.ipcache, modes)]
    return Population(subjects, met, world, settings.dual_stack)


def placed_peers(
    peers: Mapping[int, Party], ipcache: Iterable[IpcacheRow], modes: Set[str]
) -> Iterator[Party]:
    """Yields the peers: once for each address by which CIDR rules match them, else once.

    Args:
        peers: By identity.
        ipcache: Who is where.
        modes: What CIDR rules match by address: nodes, pods.
    """
    placed = set()
    for row in ipcache:
        if row.identity in peers and facts.is_matched(row, modes):
            placed.add(row.identity)
            yield msgspec.structs.replace(peers[row.identity], at=row.prefix)
    yield from (party for number, party in peers.items() if number not in placed)


def conflicts_json(found: Conflicts, policies: Table[PolicyObject]) -> Json:
    """Returns rules that get in each other's way."""
    return {
        "rules": found.rules,
        "complete": found.complete,
        "conflicts": [
            {
                "kind": str(each.kind),
                "rule": rule_json(each.rule, policies),
                "others": [rule_json(other, policies) for other in each.others],
                "detail": each.detail,
            }
            for each in found.found
        ],
    }


def stats_json(parts: Parts) -> Json:
    """Returns what each rule has let through or denied, and what each closing has denied."""
    hits = parts.accounting.hits
    found = []
    for rule in counted_rules(parts.policy.engine.subjects.policies.values()):
        counted = hits.of(rule)
        if rule.policy == ALWAYS_MODE and counted == Hits():
            continue
        found.append(
            {
                **rule_json(rule, parts.tables.policies),
                "connections": counted.connections,
                "packets": counted.packets,
                "bytes": counted.bytes,
                "last-hit": hits.last_hit(counted),
            }
        )
    rest = {"packets": hits.rest.packets, "bytes": hits.rest.bytes}
    return {"since": hits.since, "rules": found, "denied-unaccounted": rest}


def counted_rules(policies: Iterable[Policy]) -> Iterator[ProvenanceRule]:
    """Returns every rule that a verdict may name: by policy, its entries, then what it closes."""
    for policy in sorted(policies, key=lambda policy: policy.key):
        for spec in policy.specs:
            for entry in spec.entries:
                yield provenance_rule(policy.key, entry, spec.log)
            for direction in Direction:
                if spec.closes[direction]:
                    yield closer(spec, direction)
    for direction in Direction:
        yield mode_closer(direction)


def policy_source(row: PolicyObject | None) -> str:
    """Returns where a policy is from: `kubernetes`, or `file:line`; empty when it is gone."""
    if row is None:
        return ""
    return row.uid if row.source else "kubernetes"


def refused_file_json(place: str, why: str) -> Json:
    """Returns a file that is not in force as it is now, in the form of a policy.

    What it said last is among the policies, should it have been well before.
    """
    return {
        "kind": "File",
        "namespace": "",
        "name": place.rpartition("/")[2].partition(":")[0],
        "source": place,
        "generation": 0,
        "valid": False,
        "error": why,
        "warnings": [],
        "revision": 0,
        "rules": 0,
        "endpoints": [],
        "selected": 0,
        "enforced": 0,
        "pods": [],
        "missing": [],
        "reason": "",
    }


def statuses_json(parts: Parts) -> list[Json]:
    """Returns what became of each policy object on this node."""
    numbers = {row.key: row.endpoints for row in parts.tables.policy_statuses}
    files = [] if parts.policy_files is None else parts.policy_files.refusals()
    return [refused_file_json(*each) for each in files] + [
        {
            "kind": row.key[0],
            "namespace": row.key[1],
            "name": row.key[2],
            "source": policy_source(parts.tables.policies.get(row.key)),
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
