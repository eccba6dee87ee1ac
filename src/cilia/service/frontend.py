"""What a service and its slices amount to: which addresses are balanced over which backends.

Source: https://kubernetes.io/docs/reference/networking/virtual-ips/ and
https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from collections.abc import Iterable, Sequence

from cilia.state.endpoint_slices import EndpointSlice
from cilia.state.frontends import Backend, Frontend
from cilia.state.services import Service


def frontends_of(service: Service, slices: Sequence[EndpointSlice]) -> list[Frontend]:
    """Returns a service's frontends, one for each cluster address and port.

    Backends are those that are ready; when none is, those that terminate but still
    serve are the last resort. A service port finds the slice port of its name, which
    carries the resolved target port, so named target ports need nothing more.
    """
    found = []
    for port in service.ports:
        backends = _port_backends(slices, port.name, port.protocol)
        for address in service.cluster_ips:
            is_v6 = ":" in address
            found.append(
                Frontend(
                    address=address,
                    port=port.port,
                    protocol=port.protocol,
                    namespace=service.namespace,
                    name=service.name,
                    type="ClusterIP",
                    backends=_usable([each for each in backends if (":" in each.address) == is_v6]),
                    affinity_s=service.affinity_s,
                )
            )
    return found


def _port_backends(slices: Iterable[EndpointSlice], name: str, protocol: str) -> list[Backend]:
    return [
        Backend(
            address,
            port.port,
            protocol,
            "active" if backend.ready else "terminating",
            backend.node,
            backend.zone,
        )
        for each in slices
        for port in each.ports
        if port.name == name and port.protocol == protocol
        for backend in each.backends
        if backend.ready or (backend.serving and backend.terminating)
        for address in backend.addresses
    ]


def _usable(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    """Returns each place once, sorted: the active ones, or else the terminating ones."""
    by_place: dict[tuple[str, int], Backend] = {}
    for backend in sorted(backends):
        # An address may be in two slices for a moment; "active" sorts first and stays.
        by_place.setdefault((backend.address, backend.port), backend)
    unique = list(by_place.values())
    active = tuple(each for each in unique if each.state == "active")
    return active or tuple(unique)
