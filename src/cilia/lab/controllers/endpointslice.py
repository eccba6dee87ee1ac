"""EndpointSlices and Endpoints: the pods behind each service, for everyone to read.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

import hashlib
from collections import defaultdict

from cilia.lab.controllers.backend import Backend, Port, backends
from cilia.lab.controllers.cluster import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    SERVICES,
    Change,
    Cluster,
    Create,
    Object,
    Resource,
    deletion_of,
    is_terminating,
    labels_of,
    owner_reference,
    patch_of,
)

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
ENDPOINTS_MANAGER_LABEL = "endpoints.kubernetes.io/managed-by"
ENDPOINTS_MANAGER = "endpoint-controller"
SLICE_SIZE = 100
"""Endpoints in one slice at most."""


def endpoint_changes(cluster: Cluster) -> list[Change]:
    """Brings EndpointSlices and Endpoints to what services and pods say.

    Services without a selector are their author's own business: nothing of
    theirs is touched.
    """
    slices: dict[tuple[str, str], Object] = {}
    endpoints: dict[tuple[str, str], Object] = {}
    for service in cluster.all(SERVICES):
        spec = service["spec"]
        if spec.get("selector") and spec.get("type") != "ExternalName" and families(service):
            namespace = service["metadata"]["namespace"]
            found = backends(service, cluster)
            for one in service_slices(service, found):
                slices[namespace, one["metadata"]["name"]] = one
            endpoints[namespace, service["metadata"]["name"]] = service_endpoints(service, found)
    return [
        *_difference(cluster, ENDPOINT_SLICES, slices, (MANAGER_LABEL, MANAGER)),
        *_difference(cluster, ENDPOINTS, endpoints, (ENDPOINTS_MANAGER_LABEL, ENDPOINTS_MANAGER)),
    ]


def families(service: Object) -> list[str]:
    """The address families of a service; none until it has its addresses."""
    return [str(family) for family in service["spec"].get("ipFamilies") or []]


def service_slices(service: Object, found: list[Backend]) -> list[Object]:
    """The EndpointSlices of one service: by family, by set of ports, in chunks."""
    made = []
    for family in families(service):
        groups: dict[tuple[Port, ...], list[Backend]] = defaultdict(list)
        for backend in found:
            if backend.address(family):
                groups[backend.ports].append(backend)
        for ports, members in sorted(groups.items()) or [((), [])]:
            for start in range(0, max(1, len(members)), SLICE_SIZE):
                chunk = members[start : start + SLICE_SIZE]
                made.append(_slice(service, family, ports, chunk, start // SLICE_SIZE))
    return made


def service_endpoints(service: Object, found: list[Backend]) -> Object:
    """The Endpoints object of one service, in its first family."""
    family = families(service)[0]
    groups: dict[tuple[Port, ...], list[Backend]] = defaultdict(list)
    for backend in found:
        if backend.address(family) and not (backend.terminating and not backend.publish):
            groups[backend.ports].append(backend)
    return {
        "apiVersion": ENDPOINTS.api_version,
        "kind": ENDPOINTS.kind,
        "metadata": {
            "name": service["metadata"]["name"],
            "namespace": service["metadata"]["namespace"],
            "labels": labels_of(service) | {ENDPOINTS_MANAGER_LABEL: ENDPOINTS_MANAGER},
        },
        "subsets": [_subset(ports, members, family) for ports, members in sorted(groups.items())],
    }


def _slice(
    service: Object, family: str, ports: tuple[Port, ...], members: list[Backend], chunk: int
) -> Object:
    metadata = service["metadata"]
    seed = f"{metadata['uid']} {family} {ports} {chunk}"
    suffix = hashlib.sha256(seed.encode()).hexdigest()[:5]
    headless = {HEADLESS_LABEL: ""} if service["spec"].get("clusterIP") == "None" else {}
    return {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "name": f"{metadata['name']}-{suffix}",
            "namespace": metadata["namespace"],
            "labels": labels_of(service)
            | {SERVICE_LABEL: metadata["name"], MANAGER_LABEL: MANAGER}
            | headless,
            "ownerReferences": [owner_reference(SERVICES, service)],
        },
        "addressType": family,
        "endpoints": [_endpoint(backend, family) for backend in members],
        "ports": [_port(port) for port in ports],
    }


def _endpoint(backend: Backend, family: str) -> Object:
    endpoint: Object = {
        "addresses": [backend.address(family)],
        "conditions": {
            "ready": backend.publish or (backend.ready and not backend.terminating),
            "serving": backend.publish or backend.ready,
            "terminating": backend.terminating,
        },
        "targetRef": _reference(backend),
    }
    if backend.node:
        endpoint["nodeName"] = backend.node
    if backend.hostname:
        endpoint["hostname"] = backend.hostname
    return endpoint


def _subset(ports: tuple[Port, ...], members: list[Backend], family: str) -> Object:
    subset: Object = {}
    for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
        entries = [
            _address(backend, family)
            for backend in members
            if (backend.ready or backend.publish) is wanted
        ]
        if entries:
            subset[field] = entries
    subset["ports"] = [_port(port) for port in ports]
    return subset


def _address(backend: Backend, family: str) -> Object:
    address: Object = {"ip": backend.address(family), "targetRef": _reference(backend)}
    if backend.node:
        address["nodeName"] = backend.node
    if backend.hostname:
        address["hostname"] = backend.hostname
    return address


def _reference(backend: Backend) -> Object:
    return {
        "kind": "Pod",
        "namespace": backend.namespace,
        "name": backend.name,
        "uid": backend.uid,
    }


def _port(port: Port) -> Object:
    entry: Object = {"name": port.name, "port": port.number, "protocol": port.protocol}
    if port.app_protocol:
        entry["appProtocol"] = port.app_protocol
    return entry


def _difference(
    cluster: Cluster,
    resource: Resource,
    wanted: dict[tuple[str, str], Object],
    managed: tuple[str, str],
) -> list[Change]:
    """Changes from the objects that we manage to the wanted ones."""
    changes: list[Change] = []
    for key, one in wanted.items():
        known = cluster.get(resource, *key)
        if known is None:
            changes.append(Create(resource, one))
        elif not is_terminating(known) and _differs(known, one):
            body = {name: one[name] for name in one if name not in ("apiVersion", "kind")}
            changes.append(patch_of(resource, known, body))
    label, manager = managed
    for known in cluster.all(resource):
        key = (known["metadata"]["namespace"], known["metadata"]["name"])
        if key not in wanted and labels_of(known).get(label) == manager:
            changes.append(deletion_of(resource, known))
    return changes


def _differs(known: Object, wanted: Object) -> bool:
    if not labels_of(wanted).items() <= labels_of(known).items():
        return True
    fields = (name for name in wanted if name not in ("apiVersion", "kind", "metadata"))
    return any((known.get(name) or []) != wanted[name] for name in fields)
