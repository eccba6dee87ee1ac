"""The netlink side of a pod: veth pair, addresses, routes.

The pod has its addresses alone on eth0 (/32 and /128), a route to the router on
that link, and all else by way of the router, a permanent neighbour. Programs answer for
the router too, but asking takes an address to ask from: a pod has no link-local one, so
its kernel could not probe a stale neighbour and would wait seconds for it to fail.
"""

import hashlib
import ipaddress
import os
from collections.abc import Callable

from cilia.datapath.config import GATEWAY_MAC
from cilia.endpoint.store import EndpointRecord
from cilia.kernel import netns
from cilia.kernel.netlink import NetlinkSocket, Request
from cilia.kernel.rtnetlink import (
    LinkRow,
    VethEnd,
    add_address,
    add_neighbour,
    add_route,
    addresses,
    create_veth,
    delete_link,
    disable_link_local,
    link,
    links,
    set_link,
)
from cilia.model.errors import NotFound

_LOOPBACK = 1


def device_name(container: str, ifname: str) -> str:
    """The host-side interface's name: the same for the same pod, lxc and 10 hex digits."""
    return "lxc" + hashlib.sha256(f"{container}/{ifname}".encode()).hexdigest()[:10]


def random_mac() -> str:
    """A locally administered unicast address."""
    return (b"\x02" + os.urandom(5)).hex(":")


Routers = tuple[ipaddress.IPv4Address | None, ipaddress.IPv6Address | None]


class PodDevices:
    """Makes and removes pods' interfaces."""

    def __init__(
        self, namespace: str | None, routers: Routers, gateway_mac: str = GATEWAY_MAC
    ) -> None:
        """Works in the node's namespace; None: the calling thread's."""
        self._namespace = namespace
        self._routers = routers
        self._gateway_mac = gateway_mac

    def connect(self, record: EndpointRecord, close: Callable[[int], None]) -> int:
        """Makes the pair and brings both ends up; the host side's ifindex.

        Args:
            close: Called with the ifindex before either end is up: puts program and
                closed row in place, so that no packet ever passes unjudged.

        Raises:
            NotFoundError: The pod's namespace is not there.
            ExistsError: The pod has such an interface already.
        """
        target = netns.open_namespace(record.netns)
        try:
            with (
                NetlinkSocket(self._namespace) as host,
                NetlinkSocket(record.netns) as pod,
            ):
                end = VethEnd(record.device, record.host_mac)
                peer = VethEnd(record.ifname, record.mac, target)
                host.commit(delete_link(record.device), create_veth(end, peer, record.mtu))
                outside, inside = link(host, record.device), link(pod, record.ifname)
                if outside is None or inside is None:
                    raise NotFound(f"{record.device} went away while it was set up")
                close(outside.index)
                host.commit(disable_link_local(outside.index), set_link(outside.index, up=True))
                pod.commit(*self._inside(record, inside.index))
                return outside.index
        finally:
            os.close(target)

    def _inside(self, record: EndpointRecord, index: int) -> list[Request]:
        requests = [
            set_link(_LOOPBACK, up=True),
            disable_link_local(index),
            set_link(index, up=True),
        ]
        for own, router in zip((record.v4, record.v6), self._routers, strict=True):
            if own is not None and router is not None:
                requests += [
                    add_address(index, ipaddress.ip_interface(own)),
                    add_route(ipaddress.ip_network(router), index),
                    add_neighbour(index, router, self._gateway_mac),
                    add_route(
                        ipaddress.ip_network("0.0.0.0/0" if router.version == 4 else "::/0"),
                        index,
                        via=router,
                    ),
                ]
        return requests

    def disconnect(self, device: str) -> None:
        """Removes the pair; it may be gone."""
        with NetlinkSocket(self._namespace) as host:
            host.commit(delete_link(device))

    def existing(self) -> dict[str, LinkRow]:
        """The node's devices by name."""
        with NetlinkSocket(self._namespace) as host:
            return {row.name: row for row in links(host)}

    def pod_addresses(self, record: EndpointRecord) -> set[str]:
        """Addresses on the pod's interface.

        Raises:
            NotFoundError: The namespace or the interface is not there.
        """
        with NetlinkSocket(record.netns) as pod:
            row = link(pod, record.ifname)
            if row is None:
                raise NotFound(f"no {record.ifname} in {record.netns}")
            return {str(one.ip) for index, one in addresses(pod) if index == row.index}

    def is_own_namespace(self, path: str) -> bool:
        """Whether a path is the node's own namespace, which is no pod's."""
        return netns.identity(path) == netns.identity(self._namespace)
