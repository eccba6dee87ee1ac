"""A node without Kubernetes as the agent's Cluster.

    CNI ADD ─► endpoints ─► pods, namespaces        folder of files ─► policies
    <state>/identities ◄─► identities               policy enforcements ─► log

There are no other nodes, services and address groups: those tables are complete at once.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from cilia.agent.cluster import Json
from cilia.agent.local_pods import LocalPods
from cilia.agent.settings import AgentSettings
from cilia.identity.files import FileIdentities
from cilia.model.errors import InvalidValue
from cilia.model.site import NodeSite
from cilia.node import NodeNetwork, PodNetworks
from cilia.node.pools import parse_pod_networks
from cilia.runtime.reconciler import Failed, Reconciler
from cilia.runtime.services import Service
from cilia.state.nodes import Node
from cilia.state.policies import Key
from cilia.state.policy_enforcements import PolicyEnforcement
from cilia.state.tables import Tables

log = logging.getLogger(__name__)


class LoneNode:
    """One node that nobody tells anything but its container runtime and its files.

    Args:
        state: The node's folder for what survives a reboot.

    Raises:
        InvalidValue: the settings lack what Kubernetes would have told; it names them.
    """

    name = "node alone"
    server = ""
    first: tuple[Service, ...] = ()

    def __init__(self, settings: AgentSettings, state: Path) -> None:
        self._settings = settings
        if not settings.pod_cidrs:
            raise InvalidValue(
                "pod-cidrs is empty, and without Kubernetes nobody else knows this node's pod "
                "networks; set it (10.0.1.0/24,fd00:1::/64), or set kubeconfig"
            )
        if not Path(settings.static_cnp_path).is_dir():
            # No folder would mean no policy, and so that everything is allowed.
            raise InvalidValue(
                f"static-cnp-path {settings.static_cnp_path}: not a folder; "
                "make it, an empty one stands for no policy"
            )
        self.identities = FileIdentities(state / "identities")

    async def __aenter__(self) -> None:
        log.info("no Kubernetes", extra={"policies": self._settings.static_cnp_path})

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        pass

    async def pod_networks(self, site: NodeSite) -> PodNetworks:
        """Returns this node's pod networks, as set."""
        settings = self._settings
        return parse_pod_networks(
            settings.pod_cidrs, ipv4=settings.enable_ipv4, ipv6=settings.enable_ipv6
        )

    def sources(self, tables: Tables, own: Node, network: NodeNetwork) -> tuple[Service, ...]:
        """Returns what makes pods of endpoints; what only a cluster has is complete, and empty."""
        for table in (
            tables.policies,  # read from files before this
            tables.nodes,
            tables.services,
            tables.endpoint_slices,
            tables.cidr_groups,
            tables.remote_endpoints,
        ):
            table.mark_synced()
        return (LocalPods(tables),)

    def writers(
        self, tables: Tables, own: Node, nodes: Callable[[], Collection[str] | None]
    ) -> tuple[Reconciler[Any], ...]:
        """Returns what writes the state of policies into the log."""
        return (Reconciler("policy status", tables.policy_enforcements, PolicyLog()),)

    def status(self) -> Json:
        """Returns that there is no API server, and what is instead."""
        return {"state": "Disabled", "msg": f"policies from {self._settings.static_cnp_path}"}


class PolicyLog:
    """A reconciler's target: one line in the log whenever a policy's state has changed."""

    def __init__(self) -> None:
        self._told: dict[Key, Json] = {}

    async def update(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Writes what has changed."""
        for row in rows:
            state = policy_state(row)
            if self._told.get(row.key) == state:
                continue
            self._told[row.key] = state
            bad = row.error or row.missing or row.warnings
            level = logging.WARNING if bad else logging.INFO
            log.log(level, "policy status", extra={"policy": "/".join(row.key), **state})
        return []

    async def delete(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Writes which policies are gone."""
        for row in rows:
            if self._told.pop(row.key, None) is not None:
                log.info("policy gone", extra={"policy": "/".join(row.key)})
        return []

    async def prune(self, rows: Sequence[PolicyEnforcement]) -> Sequence[Failed]:
        """Writes what has changed."""
        return await self.update(rows)


def policy_state(row: PolicyEnforcement) -> Json:
    """Returns what of a policy's state people want to read; empty fields are left out."""
    state = {
        "error": row.error,
        "warnings": "; ".join(row.warnings),
        "enforced": f"{row.enforced}/{len(row.endpoints)}",
        "missing": ", ".join(row.missing),
        "reason": row.reason,
    }
    return {name: value for name, value in state.items() if value}
