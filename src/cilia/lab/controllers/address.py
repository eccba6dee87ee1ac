"""Service addresses: cluster IPs of both families, and node ports.

Source: https://kubernetes.io/docs/concepts/services-networking/service/ and
https://kubernetes.io/docs/concepts/services-networking/dual-stack/
"""

import zlib
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address

from cilia.lab.controllers.cluster import (
    SERVICES,
    Change,
    Cluster,
    Object,
    is_terminating,
    patch_of,
)

NETWORKS: dict[str, IPv4Network | IPv6Network] = {
    "IPv4": IPv4Network("10.96.0.0/12"),
    "IPv6": IPv6Network("fd00:96::/112"),
}
STATIC = 256
"""Addresses at the start of each network that are never given out unasked."""
NODE_PORTS = range(30000, 32768)
HEADLESS = "None"


def address_changes(cluster: Cluster) -> list[Change]:
    """Gives each service the families, cluster addresses and node ports that it lacks."""
    services = cluster.all(SERVICES)
    taken = set(used_addresses(services))
    ports = set(used_node_ports(services))
    changes: list[Change] = []
    for service in services:
        if is_terminating(service) or service["spec"].get("type") == "ExternalName":
            continue
        body = {**_addresses(service, taken), **_node_ports(service, ports)}
        if body:
            changes.append(patch_of(SERVICES, service, {"spec": body}))
    return changes


def used_addresses(services: list[Object]) -> Iterator[str]:
    """Every cluster address that a service holds."""
    for service in services:
        spec = service["spec"]
        yield from (ip for ip in spec.get("clusterIPs") or [] if ip != HEADLESS)
        if (first := spec.get("clusterIP")) and first != HEADLESS:
            yield first


def used_node_ports(services: list[Object]) -> Iterator[int]:
    """Every node port that a service holds."""
    for service in services:
        for port in service["spec"].get("ports") or []:
            if port.get("nodePort"):
                yield int(port["nodePort"])
        if service["spec"].get("healthCheckNodePort"):
            yield int(service["spec"]["healthCheckNodePort"])


def wanted_families(spec: Object) -> list[str]:
    """The address families that a service should have, its first one first."""
    families = [str(family) for family in spec.get("ipFamilies") or []]
    if not families:
        given = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
        families = [f"IPv{ip_address(ip).version}" for ip in given if ip != HEADLESS]
    families = families or ["IPv4"]
    policy = spec.get("ipFamilyPolicy") or _default_policy(spec)
    if policy == "SingleStack":
        return families[:1]
    return families + [family for family in NETWORKS if family not in families]


def free_address(family: str, seed: str, taken: set[str]) -> str:
    """An address that nobody holds, the same one for the same seed if it is free.

    Raises:
        ValueError: The network is full.
    """
    network = NETWORKS[family]
    size = network.num_addresses - STATIC - 1
    start = zlib.crc32(f"{seed} {family}".encode())
    for step in range(size):
        address = str(network[STATIC + (start + step) % size])
        if address not in taken:
            return address
    raise ValueError(f"every address of the service network {network} is taken")


def _default_policy(spec: Object) -> str:
    """Headless services without a selector are for both families, as upstream has it."""
    selectorless = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    return "RequireDualStack" if selectorless else "SingleStack"


def _addresses(service: Object, taken: set[str]) -> Object:
    """What a service lacks of families and addresses; `taken` grows."""
    spec = service["spec"]
    families = wanted_families(spec)
    policy = spec.get("ipFamilyPolicy") or _default_policy(spec)
    if spec.get("clusterIP") == HEADLESS:
        addresses = [HEADLESS]
    else:
        given = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
        by_family = {f"IPv{ip_address(ip).version}": ip for ip in given}
        for family in families:
            if family not in by_family:
                by_family[family] = free_address(family, service["metadata"]["uid"], taken)
                taken.add(by_family[family])
        addresses = [by_family[family] for family in families]
    body = {
        "clusterIP": addresses[0],
        "clusterIPs": addresses,
        "ipFamilies": families,
        "ipFamilyPolicy": policy,
    }
    return {} if all(spec.get(name) == value for name, value in body.items()) else body


def _node_ports(service: Object, taken: set[int]) -> Object:
    """The port list with node ports, if a service that needs them lacks one."""
    spec = service["spec"]
    if spec.get("type") not in ("NodePort", "LoadBalancer"):
        return {}
    if spec.get("allocateLoadBalancerNodePorts") is False:
        return {}
    ports = [dict(port) for port in spec.get("ports") or []]
    if all(port.get("nodePort") for port in ports):
        return {}
    for port in ports:
        if not port.get("nodePort"):
            seed = f"{service['metadata']['uid']} {port.get('name')} {port['port']}"
            port["nodePort"] = _free_node_port(seed, taken)
            taken.add(port["nodePort"])
    return {"ports": ports}


def _free_node_port(seed: str, taken: set[int]) -> int:
    start = zlib.crc32(seed.encode())
    for step in range(len(NODE_PORTS)):
        port = NODE_PORTS[(start + step) % len(NODE_PORTS)]
        if port not in taken:
            return port
    raise ValueError("every node port from 30000 to 32767 is taken")
