"""What is wrong with policies, told as events of their objects: `kubectl describe cnp` shows them.

    PolicyRefused      the object is not understood: field, value, remedy    by whoever comes first
    PolicySuspicious   it is legal, and probably not meant so: one each      by whoever comes first
    PolicyNotEnforced  the kernel of a node has refused it: a map is full    by each such node

An event has a name that follows from what it says, so neither another node nor a restart tells
it again while the API server still has it (an hour, by default).

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import datetime
import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from cilia.model.errors import CiliaError
from cilia.policy.sources import KINDS
from cilia.runtime.reconciler import Failed
from cilia.runtime.table import Table
from cilia.state.policies import Key, PolicyObject
from cilia.state.policy_enforcements import PolicyEnforcement
from cilia.wire.kubernetes import ApiError, KubernetesClient

log = logging.getLogger(__name__)

COMPONENT = "cilia-agent"
MESSAGE_BYTES = 1024
"""An API server refuses longer ones."""
_NAME = 200
"""So much of the object's name is in the event's, which has 253 characters at most."""

Json = dict[str, Any]


class Told(msgspec.Struct, frozen=True):
    """One thing to be told of a policy."""

    reason: str
    message: str
    node: str = ""
    """The node that it is about; empty: it is the same for all."""


def told_of(row: PolicyEnforcement, node: str) -> Iterator[Told]:
    """Yields what there is to tell of a policy on a node."""
    if row.error:
        yield Told("PolicyRefused", row.error)
        return
    yield from (Told("PolicySuspicious", warning) for warning in row.warnings)
    if row.missing and row.is_stuck:
        who = ", ".join(row.missing)
        yield Told("PolicyNotEnforced", f"{row.reason}; not enforced on {node} by {who}", node)


def event_of(told: Told, row: PolicyObject, generation: int, now: datetime.datetime) -> Json:
    """Returns the Event object that tells it.

    Args:
        told: What to tell.
        row: The object that it is about.
        generation: Of the object, when it was judged.
        now: When it is told.
    """
    facts = "\0".join([row.uid, str(generation), told.reason, told.message, told.node])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:16]
    # Of cluster-wide objects, events are in the default namespace.
    namespace = row.namespace or "default"
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    message = told.message.encode()[:MESSAGE_BYTES].decode("utf-8", "ignore")
    involved = {"apiVersion": KINDS[row.kind], "kind": row.kind, "name": row.name, "uid": row.uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{row.name[:_NAME]}.{digest}", "namespace": namespace},
        "involvedObject": involved | ({"namespace": row.namespace} if row.namespace else {}),
        "reason": told.reason,
        "message": message,
        "type": "Warning",
        "source": {"component": COMPONENT, **({"host": told.node} if told.node else {})},
        "reportingComponent": COMPONENT,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


class PolicyEvents:
    """A reconciler's target: events about policy objects.

    Args:
        client: The API server.
        node: This node's name.
        policies: The objects that rows are about.
    """

    def __init__(self, client: KubernetesClient, node: str, policies: Table[PolicyObject]) -> None:
        self._client = client
        self._node = node
        self._policies = policies
        self._told: dict[Key, set[str]] = {}
        """The names of the events of each object as it is now."""

    async def update(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Tells what is new about policies."""
        failed = []
        for row in rows:
            try:
                await self._tell(row)
            except CiliaError as error:
                failed.append(Failed(row.key, f"events of {' '.join(row.key)}: {error}"))
        return failed

    async def delete(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Forgets them: the API server keeps events as long as it likes."""
        for row in rows:
            self._told.pop(row.key, None)
        return []

    async def prune(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Tells what is new about policies."""
        return await self.update(rows)

    async def _tell(self, row: PolicyEnforcement) -> None:
        about = self._policies.get(row.key)
        # Files have no object that an event could be about.
        if about is None or about.source:
            return
        now = datetime.datetime.now(datetime.UTC)
        events = [event_of(told, about, row.generation, now) for told in told_of(row, self._node)]
        before = self._told.get(row.key, set())
        for event in events:
            if event["metadata"]["name"] not in before:
                await self._create(event)
        self._told[row.key] = {event["metadata"]["name"] for event in events}

    async def _create(self, event: Json) -> None:
        path = f"/api/v1/namespaces/{event['metadata']['namespace']}/events"
        try:
            await self._client.create(path, event)
        except ApiError as error:
            # Told already; or it may not be told, which is no reason not to work.
            if not error.is_conflict:
                log.warning("event not told", extra={"error": str(error), "of": event["reason"]})
