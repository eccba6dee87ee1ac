"""The rooms of a running agent, for those that look across: the API and the status."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from cilia.agent.cluster import Cluster
from cilia.agent.enforcement import Enforcement
from cilia.agent.events import AgentEvents, Knows
from cilia.agent.rule_accounting import RuleAccounting
from cilia.agent.rule_hits import RuleHits
from cilia.agent.settings import AgentSettings
from cilia.datapath.attach import Attacher
from cilia.datapath.maps.capacity import usage
from cilia.endpoint.service import EndpointService
from cilia.identity import ClusterIdentities
from cilia.ipam import HostScope
from cilia.ipcache import Ipcache, KernelIpcache
from cilia.kernel.maps import Map
from cilia.model.site import NodeSite
from cilia.node import NodeNetwork, Nodes, PodNetworks
from cilia.policy.contents import ALWAYS_MODE
from cilia.policy.directory import PolicyDirectory
from cilia.policy.service import PolicyService
from cilia.runtime.clock import Clock
from cilia.runtime.reconciler import Reconciler
from cilia.runtime.settings import Sourced
from cilia.service import KernelServices, Services
from cilia.service.sync import Place
from cilia.state.nodes import Node
from cilia.state.tables import Tables


class Parts:
    """Everything that `wiring` made, by name."""

    def __init__(
        self,
        *,
        settings: Sourced[AgentSettings],
        site: NodeSite,
        cluster: Cluster,
        tables: Tables,
        maps: Mapping[str, Map],
        attacher: Attacher,
        network: NodeNetwork,
        pods: PodNetworks,
        addresses: HostScope,
        identities: ClusterIdentities,
        endpoints: EndpointService,
        ipcache: Ipcache,
        kernel_ipcache: KernelIpcache,
        policy: PolicyService,
        enforcement: Enforcement,
        services: Services,
        kernel_services: KernelServices,
        nodes: Nodes,
        clock: Clock,
        own: Node,
    ) -> None:
        self.settings = settings
        self.site = site
        self.cluster = cluster
        self.tables = tables
        self.maps = maps
        self.attacher = attacher
        self.network = network
        self.pods = pods
        self.addresses = addresses
        self.identities = identities
        self.endpoints = endpoints
        self.ipcache = ipcache
        self.kernel_ipcache = kernel_ipcache
        self.policy = policy
        self.enforcement = enforcement
        self.services = services
        self.kernel_services = kernel_services
        self.nodes = nodes
        self.clock = clock
        self.own = own
        self.accounting = RuleAccounting(
            maps, clock, site.state, self.fold_hits, lambda: policy.engine.provenance.next
        )
        self.events = AgentEvents(tables, Knows(self.failure, self.frontend_numbers))
        self.policy_ready = False
        self.writers: Sequence[Reconciler[Any]] = ()
        self.policy_files: PolicyDirectory | None = None
        """None: no folder is followed."""

    @property
    def reconcilers(self) -> list[tuple[str, Reconciler[Any]]]:
        """Every reconciler, by a name for people."""
        return [
            ("ipcache", self.ipcache.reconciler),
            ("services", self.services.reconciler),
            ("node routes", self.nodes.reconciler),
            *((each.name, each) for each in self.writers),
        ]

    def note_policy(self) -> None:
        """Takes note that the kernel has its first complete policy."""
        self.policy_ready = True
        self.kernel_ipcache.mark_assigned()

    def fold_hits(self, hits: RuleHits) -> bool:
        """Books what the account of rules has observed; False while policies are not known."""
        if not self.policy_ready:
            return False
        engine = self.policy.engine
        policies = engine.subjects.policies.keys() | {ALWAYS_MODE}
        hits.fold(engine.provenance.table(), policies)
        return True

    def node_names(self) -> Set[str] | None:
        """Returns the nodes that there are; None while that is not known."""
        nodes = self.tables.nodes
        return {node.name for node in nodes} if nodes.synced.is_set() else None

    def is_leader(self) -> bool:
        """Returns whether this node does what only one node of the cluster must do."""
        nodes = self.tables.nodes
        return nodes.synced.is_set() and self.site.name == min(node.name for node in nodes)

    def used_identities(self) -> Set[int] | None:
        """Returns the identities that any pod has; None while other nodes' are not known."""
        remote = self.tables.remote_endpoints
        if not remote.synced.is_set():
            return None
        here = {row.identity for row in self.tables.endpoints if row.identity is not None}
        return here | {row.identity for row in remote}

    def failure(self, endpoint: int) -> str:
        """Returns why an endpoint's policy is not in the kernel; empty when it is."""
        sync, wanted = self.policy.sync, self.policy.engine.assigned.get(endpoint)
        return sync.error if sync.realized.get(endpoint) != wanted else ""

    def frontend_numbers(self) -> dict[Place, int]:
        """Returns the number of each frontend that is in the kernel."""
        return {place: one.reverse for place, one in self.kernel_services.numbers().items()}

    def problem(self) -> str:
        """Returns why new pods cannot be connected now; empty when they can."""
        if self.policy.sync.error:
            return self.policy.sync.error
        if usage(self.maps["endpoint"]).is_full:
            return f"map endpoint is full: {self.maps['endpoint'].max_entries} pods"
        full = [pool for pool in self.addresses.pools() if pool.used >= pool.capacity]
        return f"no address left in {full[0].network}" if full else ""
