"""The whole agent: which rooms there are, who is handed what, what starts on what.

    cluster ─► sources ─► tables ─► identity, endpoint, policy, ipcache, service, node
                                       └────────► kernel maps, links, routes

Read it from top to bottom: the network, the datapath, the rooms, the layers.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from cilia.agent.alone import LoneNode
from cilia.agent.api import routes
from cilia.agent.cluster import Cluster
from cilia.agent.enforcement import Enforcement
from cilia.agent.kubernetes import KubernetesCluster
from cilia.agent.metrics.counters import Counters, Stopwatch
from cilia.agent.metrics.registry import Metrics
from cilia.agent.parts import Parts
from cilia.agent.settings import AgentSettings
from cilia.agent.upkeep import ConnectionSweeper
from cilia.cni.install import install
from cilia.datapath import loader
from cilia.datapath.attach import Attacher, cgroup_plan, host_plan
from cilia.datapath.config import DatapathConfig
from cilia.datapath.loader import Loaded
from cilia.datapath.maps.ipcache import IpcacheMap
from cilia.datapath.maps.service import ServiceMap
from cilia.endpoint.devices import PodDevices
from cilia.endpoint.handler import CniHandler
from cilia.endpoint.kernel import PodKernel
from cilia.endpoint.plumbing import Plumbing
from cilia.endpoint.service import EndpointService
from cilia.endpoint.settings import EndpointSettings
from cilia.endpoint.store import EndpointStore
from cilia.identity import ClusterIdentities, LocalIdentities
from cilia.identity.collection import IdentityCollector
from cilia.identity.local import node_identities
from cilia.ipam import HostScope
from cilia.ipcache import Ipcache, KernelIpcache
from cilia.ipcache.nodes import NodeIdentities
from cilia.kernel.netlink import NetlinkSocket
from cilia.model.label_filter import LabelFilter
from cilia.model.site import NodeSite
from cilia.node import NodeNetwork, Nodes, PodNetworks, find_network, set_up_network
from cilia.node.service import PeerRoutes
from cilia.policy.contents import Enforcement as EnforcementMode
from cilia.policy.directory import PolicyDirectory
from cilia.policy.prefix_table import Worlds
from cilia.policy.service import PolicyService
from cilia.policy.settings import PolicySettings
from cilia.policy.sync import PolicySync
from cilia.runtime.clock import SystemClock
from cilia.runtime.services import Service, serve
from cilia.runtime.settings import Sourced
from cilia.service import KernelServices, Services
from cilia.state.nodes import Node
from cilia.state.tables import Tables
from cilia.wire.kubernetes import KubernetesClient
from cilia.wire.unixhttp import UnixServer

log = logging.getLogger(__name__)


async def run_agent(sourced: Sourced[AgentSettings], site: NodeSite) -> None:
    """Runs the agent of one node until cancelled."""
    settings, counters = sourced.values, Counters()
    start = Stopwatch(counters)
    cluster = choose_cluster(settings, site, os.environ, counters)
    site.state.mkdir(parents=True, exist_ok=True)
    async with cluster:
        pods = await cluster.pod_networks(site)
        with NetlinkSocket(site.netns) as connection:
            network = find_network(connection, settings.device, settings.mtu)
            set_up_network(connection, network, pods.networks, site.netns)
            start.done("network")
            loaded = loader.load(
                site, datapath_config(settings, network, pods), capacities=settings.map_sizes
            )
            attacher = Attacher(site, loaded.programs)
            attacher.apply(
                *host_plan(network.host.index, network.device, network.ifindex),
                *cgroup_plan(site.cgroup),
            )
            start.done("bpfBase")
            parts = make_parts(sourced, site, cluster, pods, network, loaded, attacher, connection)
            await serve(*layers(parts, Metrics(parts, counters, loaded.programs), start))


def choose_cluster(
    settings: AgentSettings, site: NodeSite, environment: Mapping[str, str], counters: Counters
) -> Cluster:
    """Returns who tells this node: an API server, or nobody when there is only a folder."""
    if settings.kubeconfig:
        client = KubernetesClient.from_kubeconfig(Path(settings.kubeconfig))
        return KubernetesCluster(client, settings, counters)
    if settings.static_cnp_path and "KUBERNETES_SERVICE_HOST" not in environment:
        return LoneNode(settings, site.state)
    return KubernetesCluster(KubernetesClient.from_cluster(environment), settings, counters)


def datapath_config(
    settings: AgentSettings, network: NodeNetwork, pods: PodNetworks
) -> DatapathConfig:
    """Returns what the programs are told of this node."""
    v4, v6 = cluster_networks(settings, pods)
    return DatapathConfig(
        node_v4=network.v4,
        node_v6=network.v6,
        router_v4=pods.v4[1] if pods.v4 else None,
        router_v6=pods.v6[1] if pods.v6 else None,
        pods_v4=v4,
        pods_v6=v6,
        net_ifindex=network.ifindex,
        host_ifindex=network.host.index,
        host_mac=network.host.mac,
        mtu=network.mtu,
        trace_interval_s=settings.monitor_aggregation_interval_s,
        events=settings.enable_trace_events,
        allow_host=settings.allow_localhost,
        class_by_address=bool(settings.policy_cidr_match_mode),
        masquerade_v4=settings.enable_ipv4_masquerade and network.v4 is not None,
        masquerade_v6=settings.enable_ipv6_masquerade and network.v6 is not None,
        tcp_established_s=settings.ct_tcp_established_s,
        tcp_syn_s=settings.ct_tcp_syn_s,
        tcp_closing_s=settings.ct_tcp_closing_s,
        any_s=settings.ct_any_s,
    )


def cluster_networks(
    settings: AgentSettings, pods: PodNetworks
) -> tuple[IPv4Network | None, IPv6Network | None]:
    """Returns the networks of all pods of the cluster: as set, else this node's own."""
    v4, v6 = pods.v4, pods.v6
    if v4 is not None and settings.ipv4_native_routing_cidr:
        wider = ip_network(settings.ipv4_native_routing_cidr)
        v4 = wider if isinstance(wider, IPv4Network) else v4
    if v6 is not None and settings.ipv6_native_routing_cidr:
        wider = ip_network(settings.ipv6_native_routing_cidr)
        v6 = wider if isinstance(wider, IPv6Network) else v6
    return v4, v6


def make_parts(
    sourced: Sourced[AgentSettings],
    site: NodeSite,
    cluster: Cluster,
    pods: PodNetworks,
    network: NodeNetwork,
    loaded: Loaded,
    attacher: Attacher,
    connection: NetlinkSocket,
) -> Parts:
    """Returns the rooms, each with what it asked for."""
    settings, tables, clock = sourced.values, Tables(), SystemClock()
    own = own_row(site.name, network, pods)
    tables.nodes.upsert(own)
    identities = ClusterIdentities(cluster.identities, tables.identities.claim("identity"))
    addresses = HostScope(pods.networks)
    kernel_ipcache = KernelIpcache(IpcacheMap(loaded.maps), tables.ipcache.claim("ipcache"))
    ipcache = Ipcache(
        tables,
        kernel_ipcache,
        LocalIdentities(tables.identities),
        nodes_by_label=(
            NodeIdentities(node_identities(tables.identities), settings.cluster_name)
            if settings.enable_node_selector_labels
            else None
        ),
        own_node=site.name,
        dual_stack=settings.dual_stack,
        pod_networks=[each for each in cluster_networks(settings, pods) if each is not None],
    )
    routers = (pods.v4[1] if pods.v4 else None, pods.v6[1] if pods.v6 else None)
    endpoints = EndpointService(
        EndpointSettings(*routers, mtu=network.mtu, cluster=settings.cluster_name),
        tables,
        Plumbing(
            PodDevices(site.netns, routers),
            PodKernel(site, loaded.maps, attacher),
            EndpointStore(site.state / "endpoints"),
        ),
        addresses,
        identities,
        LabelFilter(settings.labels),
    )
    policy_settings = settings_of_policy(settings)
    policy = PolicyService(
        tables,
        PolicySync(loaded.maps["policy"], loaded.maps["policy_class"], kernel_ipcache, endpoints),
        policy_settings,
        site.state / "policy.json",
    )
    kernel_services = KernelServices(ServiceMap(loaded.maps))
    nodes = Nodes(
        tables,
        PeerRoutes(
            connection,
            network,
            site.name,
            [each for each in cluster_networks(settings, pods) if each is not None],
        ),
    )
    parts = Parts(
        settings=sourced,
        site=site,
        cluster=cluster,
        tables=tables,
        maps=loaded.maps,
        attacher=attacher,
        network=network,
        pods=pods,
        addresses=addresses,
        identities=identities,
        endpoints=endpoints,
        ipcache=ipcache,
        kernel_ipcache=kernel_ipcache,
        policy=policy,
        enforcement=Enforcement(tables, policy, loaded.maps["endpoint"], policy_settings, clock),
        services=Services(tables, kernel_services),
        kernel_services=kernel_services,
        nodes=nodes,
        clock=clock,
        own=own,
    )
    parts.policy_files = policy_files(settings, tables, clock)
    parts.writers = cluster.writers(tables, own, parts.node_names)
    return parts


def settings_of_policy(settings: AgentSettings) -> PolicySettings:
    """Returns what the policy room is told."""
    return PolicySettings(
        enforcement=EnforcementMode(settings.enable_policy),
        cluster=settings.cluster_name,
        worlds=Worlds(settings.enable_ipv4, settings.enable_ipv6),
        cidr_matches=frozenset(settings.policy_cidr_match_mode),
        audit=settings.policy_audit_mode,
        nodes_by_label=settings.enable_node_selector_labels,
    )


def own_row(name: str, network: NodeNetwork, pods: PodNetworks) -> Node:
    """Returns this node's row, from its own network: it is never told by others."""
    main = [str(ip) for ip in (network.v4, network.v6) if ip is not None]
    routers = tuple(str(each[1]) for each in pods.networks)
    others = [str(ip) for ip in network.addresses if str(ip) not in (*main, *routers)]
    return Node(name, (*main, *others), pods.texts, internal=routers, source="local")


def layers(parts: Parts, metrics: Metrics, start: Stopwatch) -> tuple[tuple[Service, ...], ...]:
    """Returns what runs, in the order in which it starts; it stops the other way round.

    Nothing waits here for the API server: what needs it catches up when it is there.
    """
    settings, cluster = parts.settings.values, parts.cluster
    collector = IdentityCollector(
        cluster.identities,
        parts.clock,
        stored=lambda: parts.identities.stored.values(),
        used=parts.used_identities,
        is_leader=parts.is_leader,
        interval_s=settings.identity_gc_interval_s,
        keep_s=settings.identity_keep_s,
    )
    sweeper = ConnectionSweeper(
        parts.maps,
        parts.clock,
        interval_s=settings.conntrack_gc_interval_s,
        longest_s=max(settings.ct_tcp_established_s, settings.ct_any_s),
        accounting=parts.accounting,
    )
    metrics.follow_sweeps(sweeper)
    speakers: tuple[Service, ...] = (
        parts.identities,
        *cluster.sources(parts.tables, parts.own, parts.network),
        *parts.writers,
    )
    socket = UnixServer(
        parts.site.agent_socket,
        [*routes(parts, CniHandler(parts.endpoints, parts)), *metrics.routes()],
        observe=metrics.counters.note_answer,
    )

    def invite() -> None:
        # Only now: who finds the configuration runs the plugin, and that asks the socket.
        if settings.cni_bin_dir and settings.cni_conf_dir:
            install(parts.site, Path(settings.cni_bin_dir), Path(settings.cni_conf_dir))
        start.all_done()

    return (
        (parts.endpoints, parts.events, *([parts.policy_files] if parts.policy_files else [])),
        (Stack(cluster.name, cluster.first, speakers),),
        (parts.ipcache, parts.services, parts.nodes),
        (
            Noted(parts.policy, parts.note_policy),
            parts.enforcement,
            parts.accounting,
            sweeper,
            collector,
            *metrics.services,
            Noted(socket, invite),
        ),
    )


def policy_files(
    settings: AgentSettings, tables: Tables, clock: SystemClock
) -> PolicyDirectory | None:
    """Returns what follows a folder of policies; read before policy decides anything."""
    if not settings.static_cnp_path:
        return None
    context = settings_of_policy(settings).context
    folder = Path(settings.static_cnp_path)
    return PolicyDirectory(folder, tables.policies, tables.cidr_groups, clock, context)


class Stack:
    """Layers that start one after the other, while what lies above does not wait for them."""

    def __init__(self, name: str, *layers: tuple[Service, ...]) -> None:
        self.name = name
        self._layers = layers

    async def run(self, ready: asyncio.Event) -> None:
        """Runs the layers; ready at once."""
        ready.set()
        await serve(*self._layers)


class Noted:
    """A service, and something to be done once it is ready.

    Args:
        service: The service.
        note: What to do; it must not wait.
    """

    def __init__(self, service: Service, note: Callable[[], None]) -> None:
        self.name = service.name
        self._service = service
        self._note = note

    async def run(self, ready: asyncio.Event) -> None:
        """Runs the service."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._service.run(ready), name=self.name)
            await ready.wait()
            self._note()
