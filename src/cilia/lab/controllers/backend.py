"""Which pods stand behind a service, on which ports and in which state.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from cilia.lab.controllers.cluster import PODS, Cluster, Object, is_terminating, labels_of
from cilia.lab.controllers.pod import has_ended, is_ready
from cilia.lab.controllers.selector import selects


class Port(msgspec.Struct, frozen=True, order=True):
    """One port of a service as a pod serves it."""

    name: str
    protocol: str
    number: int
    app_protocol: str = ""


class Backend(msgspec.Struct, frozen=True):
    """One pod behind a service."""

    name: str
    uid: str
    namespace: str
    node: str
    addresses: tuple[str, ...]
    """Its addresses, at most one a family."""
    ports: tuple[Port, ...]
    """The service's ports that the pod has; one that it does not name is left out."""
    ready: bool
    terminating: bool
    publish: bool
    """Count it as ready whatever it says (`publishNotReadyAddresses`)."""
    hostname: str = ""

    def address(self, family: str) -> str | None:
        """Its address of a family (`IPv4` or `IPv6`)."""
        for address in self.addresses:
            if f"IPv{ip_address(address).version}" == family:
                return address
        return None


def backends(service: Object, cluster: Cluster) -> list[Backend]:
    """The pods that a service selects and that have an address."""
    spec, namespace = service["spec"], service["metadata"]["namespace"]
    found = []
    for pod in cluster.all(PODS, namespace):
        status = pod.get("status") or {}
        addresses = tuple(entry["ip"] for entry in status.get("podIPs") or [])
        chosen = selects({"matchLabels": spec["selector"]}, labels_of(pod))
        if not chosen or not addresses or has_ended(pod):
            continue
        publish = bool(spec.get("publishNotReadyAddresses"))
        found.append(
            Backend(
                name=pod["metadata"]["name"],
                uid=pod["metadata"]["uid"],
                namespace=namespace,
                node=pod["spec"].get("nodeName") or "",
                addresses=addresses,
                ports=tuple(sorted(served_ports(service, pod))),
                ready=is_ready(pod),
                terminating=is_terminating(pod),
                publish=publish,
                hostname=_hostname(service, pod),
            )
        )
    return found


def served_ports(service: Object, pod: Object) -> Iterator[Port]:
    """The ports of a service that a pod has, with the pod's numbers."""
    for port in service["spec"].get("ports") or []:
        protocol = port.get("protocol") or "TCP"
        target = port.get("targetPort") or port["port"]
        number = target if isinstance(target, int) else _named_port(pod, target, protocol)
        if number is not None:
            yield Port(port.get("name") or "", protocol, number, port.get("appProtocol") or "")


def _named_port(pod: Object, name: str, protocol: str) -> int | None:
    if name.isdecimal():
        return int(name)
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if port.get("name") == name and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return None


def _hostname(service: Object, pod: Object) -> str:
    """The pod's own name under a service that is its subdomain."""
    spec = pod["spec"]
    same = spec.get("subdomain") == service["metadata"]["name"]
    return str(spec.get("hostname") or "") if same else ""
