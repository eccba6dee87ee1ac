"""What became of policies, written into their objects: conditions, and how far each node is.

    status:
      enforced: 4/5                  # summed by whoever writes
      nodes:
        node-1: {observedGeneration: 2, endpoints: 3, enforced: 2, revision: 17,
                 missing: [default/web-1], message: why}
      conditions: [Valid, Warning]

Source: cilium.io/v2 CiliumNetworkPolicy, status.conditions; the rest is our own.
"""

import asyncio
import datetime
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cilia.model.errors import CiliaError, Conflict
from cilia.runtime.reconciler import Failed
from cilia.state.policy_enforcements import PolicyEnforcement
from cilia.wire.kubernetes import ApiError, KubernetesClient

log = logging.getLogger(__name__)

ROOT = "/apis/cilium.io/v2"
PATHS = {
    "CiliumNetworkPolicy": "namespaces/{namespace}/ciliumnetworkpolicies/{name}",
    "CiliumClusterwideNetworkPolicy": "ciliumclusterwidenetworkpolicies/{name}",
}
VALID = "Policy validation succeeded"
SHOWN = 10
"""So many missing endpoints are named."""
TRIES = 8
"""How often to read again when another node wrote in between."""
AT_ONCE = 4
"""How many objects are written at the same time."""

Json = dict[str, Any]


def conditions(row: PolicyEnforcement, now: datetime.datetime) -> list[dict[str, str]]:
    """Returns the conditions that say whether a policy is in force, and what is odd about it."""
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    found = [
        {
            "type": "Valid",
            "status": "False" if row.error else "True",
            "reason": "PolicyRefused" if row.error else "PolicyValid",
            "message": row.error or VALID,
            "lastTransitionTime": moment,
        }
    ]
    if row.warnings:
        found.append(
            {
                "type": "Warning",
                "status": "True",
                "reason": "PolicySuspicious",
                "message": "\n".join(row.warnings),
                "lastTransitionTime": moment,
            }
        )
    return found


def node_part(row: PolicyEnforcement) -> Json | None:
    """Returns what this node says of a policy; None when it selects nothing here."""
    if not row.endpoints:
        return None
    found: Json = {
        "observedGeneration": row.generation,
        "endpoints": len(row.endpoints),
        "enforced": row.enforced,
        "revision": row.revision,
    }
    if row.missing:
        more = len(row.missing) - SHOWN
        found["missing"] = list(row.missing[:SHOWN])
        rest = f" and {more} more" if more > 0 else ""
        found["message"] = f"not enforced by {', '.join(found['missing'])}{rest}: {row.reason}"
    return found


def total(nodes: Mapping[str, Json], generation: int) -> str:
    """Returns `enforced/endpoints` over all nodes; what is about an older object is not enforced.

    >>> total({"a": {"observedGeneration": 2, "endpoints": 3, "enforced": 2}}, 2)
    '2/3'
    """
    enforced = sum(
        int(part.get("enforced") or 0)
        for part in nodes.values()
        if part.get("observedGeneration") == generation
    )
    return f"{enforced}/{sum(int(part.get('endpoints') or 0) for part in nodes.values())}"


def status_change(
    held: Json, row: PolicyEnforcement, node: str, known: Collection[str] | None, now: list[Json]
) -> Json:
    """Returns what to change in a status, as a merge patch; empty when nothing is.

    Args:
        held: The status as it is.
        row: What this node has found.
        node: This node.
        known: The nodes that there are; None when that is not known.
        now: The conditions as they should be.
    """
    change: Json = {}
    nodes = dict(held.get("nodes") or {})
    parts: Json = {name: None for name in nodes if known is not None and name not in known}
    if (part := node_part(row)) != nodes.get(node):
        # Members that are no longer said must go, and a merge patch keeps what it does not name.
        gone = dict.fromkeys((nodes.get(node) or {}).keys() - (part or {}).keys())
        parts[node] = {**gone, **part} if part is not None else None
    if parts:
        change["nodes"] = parts
    nodes = {name: each for name, each in nodes.items() if parts.get(name, each) is not None}
    if part is not None:
        nodes[node] = part
    if (enforced := total(nodes, row.generation)) != held.get("enforced"):
        change["enforced"] = enforced
    before = held.get("conditions") or []
    after = _conditions(before, now)
    if after != before:
        change["conditions"] = after
    return change


def _conditions(before: Sequence[Json], now: Sequence[Json]) -> list[Json]:
    """The conditions, ours replaced; a time moves with the condition's status alone."""
    held = {each.get("type"): each for each in before}
    result = [each for each in before if each.get("type") not in ("Valid", "Warning")]
    for wanted in now:
        earlier = held.get(wanted["type"])
        if earlier is None:
            result.append(wanted)
        elif _facts(earlier) == _facts(wanted):
            result.append(earlier)
        else:
            same = earlier.get("status") == wanted["status"]
            moment = earlier.get("lastTransitionTime") if same else None
            kept = {"lastTransitionTime": moment} if moment else {}
            result.append({**wanted, **kept})
    return result


class PolicyObjects:
    """A reconciler's target: the status of policy objects.

    Every node writes its own part and the sum, if nobody else wrote meanwhile; all nodes
    judge alike, so the conditions are written by whoever comes first.

    Args:
        client: The API server.
        node: This node's name.
        nodes: Says which nodes there are; None while that is not known.
    """

    def __init__(
        self, client: KubernetesClient, node: str, nodes: Callable[[], Collection[str] | None]
    ) -> None:
        self._client = client
        self._node = node
        self._nodes = nodes

    async def update(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Writes what is new about policies."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def write(row: PolicyEnforcement) -> Failed | None:
            kind, namespace, name, _ = row.key
            path = f"{ROOT}/{PATHS[kind].format(namespace=namespace, name=name)}"
            async with slots:
                try:
                    await self._put(path, row)
                except CiliaError as error:
                    return Failed(row.key, f"status of {kind} {namespace}/{name}: {error}")
            return None

        # Files have no object: one of the same name has a row of its own.
        ours = [row for row in rows if row.key[0] in PATHS and not row.key[3]]
        done = await asyncio.gather(*map(write, ours))
        return [failed for failed in done if failed is not None]

    async def delete(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Nothing is left to be written on."""
        return []

    async def prune(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Writes what is not as it should be."""
        return await self.update(rows)

    async def _put(self, path: str, row: PolicyEnforcement) -> None:
        wanted: list[Json] = [*conditions(row, datetime.datetime.now(datetime.UTC))]
        for _ in range(TRIES):
            try:
                present = await self._client.get(path)
                metadata = present["metadata"]
                if metadata.get("generation", row.generation) != row.generation:
                    return  # The row about the newer object is on its way.
                held = present.get("status") or {}
                change = status_change(held, row, self._node, self._nodes(), wanted)
                if change:
                    version = {"resourceVersion": metadata["resourceVersion"]}
                    body = {"metadata": version, "status": change}
                    await self._client.patch(f"{path}/status", body)
                return
            except ApiError as error:
                if error.is_missing:
                    return
                if not error.is_conflict:
                    raise
        raise Conflict("other nodes kept writing it meanwhile; it is tried again")


def _facts(held: Json) -> tuple[Any, ...]:
    return (held.get("status"), held.get("reason"), held.get("message"))
