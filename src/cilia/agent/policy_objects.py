"""What became of policies, written into their objects: the condition `Valid`.

Source: cilium.io/v2 CiliumNetworkPolicy, status.conditions.
"""

import datetime
import logging
from collections.abc import Sequence
from typing import Any

from cilia.model.errors import CiliaError
from cilia.runtime.reconciler import Failed
from cilia.state.policy_statuses import PolicyStatus
from cilia.wire.kubernetes import ApiError, KubernetesClient

log = logging.getLogger(__name__)

ROOT = "/apis/cilium.io/v2"
PATHS = {
    "CiliumNetworkPolicy": "namespaces/{namespace}/ciliumnetworkpolicies/{name}",
    "CiliumClusterwideNetworkPolicy": "ciliumclusterwidenetworkpolicies/{name}",
}
VALID = "Policy validation succeeded"


def condition(status: PolicyStatus, now: datetime.datetime) -> dict[str, str]:
    """Returns the condition that says whether a policy is in force."""
    return {
        "type": "Valid",
        "status": "False" if status.error else "True",
        "reason": "PolicyRefused" if status.error else "PolicyValid",
        "message": status.error or VALID,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


class PolicyObjects:
    """A reconciler's target: the status of policy objects.

    All nodes judge alike, so whoever comes first writes and the others find it written.
    """

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def update(self, rows: Sequence[PolicyStatus]) -> Sequence[Failed]:
        """Writes the conditions of policies."""
        failed = []
        for row in rows:
            kind, namespace, name = row.key
            if kind not in PATHS:
                continue
            path = f"{ROOT}/{PATHS[kind].format(namespace=namespace, name=name)}"
            try:
                await self._put(path, row)
            except CiliaError as error:
                failed.append(Failed(row.key, f"status of {kind} {namespace}/{name}: {error}"))
        return failed

    async def delete(self, rows: Sequence[PolicyStatus]) -> Sequence[Failed]:
        """Nothing is left to be written on."""
        return []

    async def prune(self, rows: Sequence[PolicyStatus]) -> Sequence[Failed]:
        """Writes the conditions of policies."""
        return await self.update(rows)

    async def _put(self, path: str, row: PolicyStatus) -> None:
        try:
            present = await self._client.get(path)
            wanted = condition(row, datetime.datetime.now(datetime.UTC))
            held = (present.get("status") or {}).get("conditions") or []
            others = [each for each in held if each.get("type") != "Valid"]
            before = next((each for each in held if each.get("type") == "Valid"), None)
            if before is not None and _facts(before) == _facts(wanted):
                return
            if before is not None and before.get("status") == wanted["status"]:
                wanted["lastTransitionTime"] = before.get(
                    "lastTransitionTime", wanted["lastTransitionTime"]
                )
            await self._client.patch(
                f"{path}/status", {"status": {"conditions": [*others, wanted]}}
            )
        except ApiError as error:
            if not error.is_missing:
                raise


def _facts(held: dict[str, Any]) -> tuple[Any, ...]:
    return (held.get("status"), held.get("reason"), held.get("message"))
