"""Kubernetes objects to rows: only the fields that we read are ever decoded.

Source: the Kubernetes API reference, v1 and discovery.k8s.io/v1, and
agent/crds/*.json. A field that the API may leave out or null has None here.
"""

import ipaddress
from typing import Any

import msgspec

from cilia.agent.workloads import Owner, pod_workload, told_workload
from cilia.model.errors import InvalidValue
from cilia.state.cidr_groups import CidrGroup
from cilia.state.endpoint_slices import EndpointSlice, SliceBackend, SlicePort
from cilia.state.namespaces import Namespace
from cilia.state.nodes import Node
from cilia.state.pods import Pod
from cilia.state.policies import PolicyObject
from cilia.state.ports import NamedPort
from cilia.state.remote_endpoints import RemoteEndpoint
from cilia.state.services import Service, ServicePort

Pairs = tuple[tuple[str, str], ...]

SERVICE_LABEL = "kubernetes.io/service-name"
AFFINITY_S = 10800
"""Kubernetes' default for ClientIP affinity."""


class Metadata(msgspec.Struct):
    """What of an object's metadata we read."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    ownerReferences: list[Owner] | None = None


class ContainerPort(msgspec.Struct):
    """A port of a container."""

    containerPort: int
    name: str | None = None
    protocol: str | None = None


class Container(msgspec.Struct):
    """A container of a pod."""

    ports: list[ContainerPort] | None = None


class PodSpec(msgspec.Struct):
    """What of a pod's specification we read."""

    serviceAccountName: str | None = None
    hostNetwork: bool | None = None
    containers: list[Container] | None = None
    initContainers: list[Container] | None = None


class PodItem(msgspec.Struct):
    """A pod."""

    metadata: Metadata
    spec: PodSpec

    def row(self) -> Pod:
        """Returns its row."""
        containers = [*(self.spec.initContainers or ()), *(self.spec.containers or ())]
        return Pod(
            self.metadata.namespace,
            self.metadata.name,
            self.metadata.uid,
            pairs(self.metadata.labels),
            self.spec.serviceAccountName or "",
            bool(self.spec.hostNetwork),
            tuple(
                NamedPort(port.name, port.protocol or "TCP", port.containerPort)
                for container in containers
                for port in container.ports or ()
                if port.name
            ),
            workload=pod_workload(
                self.metadata.name, self.metadata.ownerReferences, self.metadata.labels
            ),
        )


class NamespaceItem(msgspec.Struct):
    """A namespace."""

    metadata: Metadata

    def row(self) -> Namespace:
        """Returns its row."""
        return Namespace(self.metadata.name, pairs(self.metadata.labels))


class NodeAddress(msgspec.Struct):
    """An address of a node."""

    type: str
    address: str


class NodeSpec(msgspec.Struct):
    """What of a node's specification we read."""

    podCIDR: str | None = None
    podCIDRs: list[str] | None = None


class NodeStatus(msgspec.Struct):
    """What of a node's status we read."""

    addresses: list[NodeAddress] | None = None


class NodeItem(msgspec.Struct):
    """A node."""

    metadata: Metadata
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)

    def row(self) -> Node:
        """Returns its row; the routers of its pod networks have their first addresses."""
        cidrs = self.spec.podCIDRs or ([self.spec.podCIDR] if self.spec.podCIDR else [])
        return Node(
            self.metadata.name,
            tuple(
                each.address
                for kind in ("InternalIP", "ExternalIP")
                for each in self.status.addresses or ()
                if each.type == kind
            ),
            tuple(cidrs),
            internal=tuple(router_address(cidr) for cidr in cidrs),
            labels=pairs(self.metadata.labels),
        )


class ServicePortItem(msgspec.Struct):
    """A port of a service."""

    port: int
    name: str | None = None
    protocol: str | None = None


class ClientIp(msgspec.Struct):
    """Affinity by client address."""

    timeoutSeconds: int | None = None


class AffinityConfig(msgspec.Struct):
    """How affinity works."""

    clientIP: ClientIp | None = None


class ServiceSpec(msgspec.Struct):
    """What of a service's specification we read."""

    type: str | None = None
    clusterIP: str | None = None
    clusterIPs: list[str] | None = None
    ports: list[ServicePortItem] | None = None
    selector: dict[str, str] | None = None
    sessionAffinity: str | None = None
    sessionAffinityConfig: AffinityConfig | None = None


class ServiceItem(msgspec.Struct):
    """A service."""

    metadata: Metadata
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)

    def row(self) -> Service:
        """Returns its row."""
        spec = self.spec
        addresses = spec.clusterIPs or ([spec.clusterIP] if spec.clusterIP else [])
        client = spec.sessionAffinityConfig.clientIP if spec.sessionAffinityConfig else None
        seconds = (client.timeoutSeconds if client else None) or AFFINITY_S
        return Service(
            self.metadata.namespace,
            self.metadata.name,
            spec.type or "ClusterIP",
            tuple(each for each in addresses if each and each != "None"),
            tuple(
                ServicePort(port.name or "", port.protocol or "TCP", port.port)
                for port in spec.ports or ()
            ),
            seconds if spec.sessionAffinity == "ClientIP" else 0,
            pairs(spec.selector),
            pairs(self.metadata.labels),
        )


class SlicePortItem(msgspec.Struct):
    """A port of a slice."""

    port: int | None = None
    name: str | None = None
    protocol: str | None = None


class Conditions(msgspec.Struct):
    """The state of a backend; what is not said counts as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class BackendItem(msgspec.Struct):
    """A backend of a slice."""

    addresses: list[str]
    conditions: Conditions | None = None
    nodeName: str | None = None
    zone: str | None = None

    def row(self) -> SliceBackend:
        """Returns its row."""
        told = self.conditions or Conditions()
        ready = told.ready is not False
        return SliceBackend(
            tuple(self.addresses),
            ready,
            ready if told.serving is None else told.serving,
            bool(told.terminating),
            self.nodeName or "",
            self.zone or "",
        )


class EndpointSliceItem(msgspec.Struct):
    """An EndpointSlice."""

    metadata: Metadata
    endpoints: list[BackendItem] | None = None
    ports: list[SlicePortItem] | None = None

    def row(self) -> EndpointSlice:
        """Returns its row."""
        return EndpointSlice(
            self.metadata.namespace,
            self.metadata.name,
            (self.metadata.labels or {}).get(SERVICE_LABEL, ""),
            tuple(
                SlicePort(port.name or "", port.protocol or "TCP", port.port)
                for port in self.ports or ()
                if port.port
            ),
            tuple(each.row() for each in self.endpoints or ()),
        )


class CidrGroupSpec(msgspec.Struct):
    """What a CIDR group holds."""

    externalCIDRs: list[str] | None = None


class CidrGroupItem(msgspec.Struct):
    """A CiliumCIDRGroup."""

    metadata: Metadata
    spec: CidrGroupSpec

    def row(self) -> CidrGroup:
        """Returns its row."""
        return CidrGroup(
            self.metadata.name,
            pairs(self.metadata.labels),
            tuple(self.spec.externalCIDRs or ()),
        )


class AddressPair(msgspec.Struct):
    """A pod's addresses."""

    ipv4: str | None = None
    ipv6: str | None = None


class Networking(msgspec.Struct):
    """Where a pod is."""

    addressing: list[AddressPair] | None = None
    node: str | None = None


class IdentityRef(msgspec.Struct):
    """Which identity a pod has."""

    id: int = 0


class NamedPortItem(msgspec.Struct):
    """A named port of a pod."""

    name: str
    port: int
    protocol: str = "TCP"


class CiliumEndpointStatus(msgspec.Struct, rename={"named_ports": "named-ports"}):
    """What of a CiliumEndpoint's status we read."""

    identity: IdentityRef | None = None
    networking: Networking | None = None
    named_ports: list[NamedPortItem] | None = None


class CiliumEndpointItem(msgspec.Struct):
    """A CiliumEndpoint."""

    metadata: Metadata
    status: CiliumEndpointStatus | None = None

    def row(self) -> RemoteEndpoint | None:
        """Returns its row; None until it has an identity and an address."""
        status = self.status
        if status is None or not status.identity or not status.networking:
            return None
        addresses = tuple(
            address
            for each in status.networking.addressing or ()
            for address in (each.ipv4, each.ipv6)
            if address
        )
        if not addresses or not status.identity.id:
            return None
        return RemoteEndpoint(
            self.metadata.namespace,
            self.metadata.name,
            status.identity.id,
            status.networking.node or "",
            addresses,
            tuple(
                NamedPort(port.name, port.protocol, port.port) for port in status.named_ports or ()
            ),
            told_workload(self.metadata.annotations),
        )


def policy_row(kind: str, item: dict[str, Any]) -> PolicyObject:
    """Returns a policy object's row, without what changes when nothing of the rules does."""
    metadata = item.get("metadata") or {}
    kept = {
        name: metadata[name]
        for name in ("name", "namespace", "uid", "labels", "annotations", "generation")
        if name in metadata
    }
    slim = {**item, "kind": kind, "metadata": kept}
    slim.pop("status", None)
    return PolicyObject(
        kind,
        str(metadata.get("namespace", "")),
        str(metadata.get("name", "")),
        str(metadata.get("uid", "")),
        int(metadata.get("generation") or 0),
        msgspec.json.encode(slim),
    )


def pairs(labels: dict[str, str] | None) -> Pairs:
    """Returns labels as sorted pairs, so that equal labels are equal values."""
    return tuple(sorted((labels or {}).items()))


def router_address(cidr: str) -> str:
    """Returns the first host address of a pod network, which its router has.

    Raises:
        InvalidValue: it is not a prefix.

    >>> router_address("10.0.1.0/24"), router_address("fd00:10:0:1::/64")
    ('10.0.1.1', 'fd00:10:0:1::1')
    """
    try:
        return str(ipaddress.ip_network(cidr, strict=False).network_address + 1)
    except ValueError as error:
        raise InvalidValue(f"pod network {cidr!r} is not a prefix: {error}") from error
