"""The node's own network: the device to the world, and cilia_host towards the pods."""

import ipaddress
import logging
from collections.abc import Iterable

import msgspec

from cilia.datapath.attach import ensure_host_device
from cilia.kernel import rtnetlink, sysctl
from cilia.kernel.netlink import NetlinkSocket, Request
from cilia.kernel.rtnetlink import Address, LinkRow, Network
from cilia.model.errors import CiliaError

log = logging.getLogger(__name__)

_LOOPBACK = 1


class NetworkError(CiliaError):
    """The node's network lacks something that pods need."""


class NodeNetwork(msgspec.Struct, frozen=True):
    """The node's network as it was found."""

    device: str
    """The device to other nodes and the world."""
    ifindex: int
    mtu: int
    v4: ipaddress.IPv4Address | None
    """The node's address on that device."""
    v6: ipaddress.IPv6Address | None
    addresses: tuple[Address, ...]
    """Every global address of the node."""
    host: LinkRow
    """cilia_host."""


def find_network(connection: NetlinkSocket, device: str = "", mtu: int = 0) -> NodeNetwork:
    """Returns the node's network; makes cilia_host when it is missing.

    Args:
        connection: A socket in the node's namespace.
        device: The device to the world; empty: that of the default route.
        mtu: For pods; 0: the device's.

    Raises:
        NetworkError: there is no such device, or it has no address.
    """
    link = _net_device(connection, device)
    rows = rtnetlink.addresses(connection)
    host = ensure_host_device(connection, mtu or link.mtu)
    here = [each.ip for index, each in rows if index == link.index and _is_global(each.ip)]
    v4 = next((ip for ip in here if isinstance(ip, ipaddress.IPv4Address)), None)
    v6 = next((ip for ip in here if isinstance(ip, ipaddress.IPv6Address)), None)
    if v4 is None and v6 is None:
        raise NetworkError(f"device {link.name} has no address; give it one, or set `devices`")
    return NodeNetwork(
        device=link.name,
        ifindex=link.index,
        mtu=mtu or link.mtu,
        v4=v4,
        v6=v6,
        addresses=tuple(
            dict.fromkeys(
                each.ip for index, each in rows if index != _LOOPBACK and _is_global(each.ip)
            )
        ),
        host=host,
    )


def _net_device(connection: NetlinkSocket, device: str) -> LinkRow:
    links = rtnetlink.links(connection)
    if device:
        found = next((each for each in links if each.name == device), None)
        if found is None:
            names = ", ".join(each.name for each in links)
            raise NetworkError(f"device {device} is not there; this node has {names}")
        return found
    indexes = [
        route.device
        for route in rtnetlink.routes(connection)
        if route.destination.prefixlen == 0 and route.device
    ]
    found = next((each for index in indexes for each in links if each.index == index), None)
    if found is None:
        raise NetworkError("there is no default route; name the device to the world in `devices`")
    return found


def _is_global(address: Address) -> bool:
    return not (address.is_link_local or address.is_loopback or address.is_multicast)


def host_requests(host: int, pods: Iterable[Network]) -> list[Request]:
    """Returns what gives cilia_host its router addresses and the routes to this node's pods.

    The routes have no next hop, and the device asks nobody for MACs: the program at
    its egress sets them.
    """
    requests = [rtnetlink.set_link(host, arp=False)]
    for network in pods:
        router = ipaddress.ip_interface((network.network_address + 1, network.max_prefixlen))
        requests.append(rtnetlink.add_address(host, router))
        requests.append(rtnetlink.add_route(network, host, source=router.ip))
    return requests


def node_sysctls(device: str, host: str) -> dict[str, int]:
    """Returns the kernel parameters that forwarding needs.

    Reverse path filtering is off where packets come in by redirection, on a way that
    the routing table would not take.
    """
    return {
        "ipv4/ip_forward": 1,
        "ipv6/conf/all/forwarding": 1,
        "ipv4/conf/all/rp_filter": 0,
        f"ipv4/conf/{device}/rp_filter": 0,
        f"ipv4/conf/{host}/rp_filter": 0,
        f"ipv4/conf/{host}/forwarding": 1,
        f"ipv6/conf/{host}/forwarding": 1,
        f"ipv4/conf/{host}/accept_local": 1,
    }


def set_up_network(
    connection: NetlinkSocket, network: NodeNetwork, pods: Iterable[Network], netns: str | None
) -> None:
    """Brings cilia_host, routes and kernel parameters to what pods need; may be repeated."""
    for name, value in node_sysctls(network.device, network.host.name).items():
        if sysctl.read(name, netns) != str(value):
            sysctl.write(name, value, netns)
    connection.commit(*host_requests(network.host.index, pods))
    log.info("node network ready", extra={"device": network.device, "mtu": network.mtu})
