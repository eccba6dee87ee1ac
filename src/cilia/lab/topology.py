"""The lab's network: a bridge, the world and the nodes, each in a namespace of its own.

        cilia-<lab>-world        cilia-<lab>-net         cilia-<lab>-node-1
        eth0 172.30.0.1   ──────  br0 172.30.0.2  ──────  eth0 172.30.0.11
        lo   1.1.1.1 …            (API server)            (default via .1)

What should be there is a plan (pure); `build` brings the kernel to it with one
`ip` call a namespace, and may be repeated at any time.
"""

import json
import subprocess
from ipaddress import IPv4Address, IPv6Address

import msgspec

from cilia.lab.internet import WORLD_ADDRESSES
from cilia.lab.site import (
    API_SERVER,
    UNDERLAY_V4_BITS,
    UNDERLAY_V6_BITS,
    WORLD,
    Host,
    LabSite,
    netns_path,
)
from cilia.model.errors import CiliaError

BRIDGE = "br0"
DEVICE = "eth0"
MTU_BYTES = 1500

_ROUTER_SYSCTLS: dict[str, int | str] = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
}
_COMMON_SYSCTLS: dict[str, int | str] = {
    "net.ipv4.ping_group_range": "0 2147483647",
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.default.accept_ra": 0,
}


class TopologyError(CiliaError):
    """A namespace, link or address could not be made."""


class Namespace(msgspec.Struct, frozen=True):
    """One network namespace, as it should be."""

    name: str
    host: Host
    uplink: str
    """Device that carries `host`: the bridge itself, or the end of a veth to it."""
    port: str | None
    """The veth's other end, on the bridge; None: this namespace holds the bridge."""
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    """Further addresses, on the loopback."""
    gateway: Host | None = None
    sysctls: dict[str, int | str] = {}


def namespaces(site: LabSite) -> tuple[Namespace, ...]:
    """Every namespace of the lab; the one with the bridge comes first."""
    bridge = Namespace(
        site.net_namespace, API_SERVER, BRIDGE, None, gateway=WORLD, sysctls=_COMMON_SYSCTLS
    )
    world = Namespace(
        site.world_namespace,
        WORLD,
        DEVICE,
        "world",
        addresses=WORLD_ADDRESSES,
        sysctls=_COMMON_SYSCTLS | _ROUTER_SYSCTLS,
    )
    nodes = (
        Namespace(
            site.node_namespace(node),
            site.node_host(node),
            DEVICE,
            node,
            gateway=WORLD,
            sysctls=_COMMON_SYSCTLS | _ROUTER_SYSCTLS,
        )
        for node in site.node_names
    )
    return (bridge, world, *nodes)


def link_commands(wanted: tuple[Namespace, ...], present: frozenset[str]) -> list[str]:
    """Lines for `ip -batch` in the bridge's namespace that add the missing links.

    Args:
        wanted: The lab's namespaces, the bridge's first.
        present: Names of the devices that the bridge's namespace has already.
    """
    lines = ["link set lo up"]
    if BRIDGE not in present:
        lines.append(f"link add {BRIDGE} mtu {MTU_BYTES} type bridge stp_state 0 forward_delay 0")
    for namespace in wanted:
        if namespace.port is None:
            continue
        if namespace.port not in present:
            lines.append(
                f"link add {namespace.port} mtu {MTU_BYTES} type veth"
                f" peer name {namespace.uplink} mtu {MTU_BYTES} netns {namespace.name}"
            )
        lines.append(f"link set {namespace.port} master {BRIDGE} up")
    return lines


def address_commands(namespace: Namespace) -> list[str]:
    """Lines for `ip -batch` in `namespace` that set its addresses and routes."""
    device, host = namespace.uplink, namespace.host
    lines = [
        "link set lo up",
        # The link-local address stays: a router that answers from an address of its
        # loopback asks for its neighbours from it.
        f"address replace {host.v4}/{UNDERLAY_V4_BITS} dev {device}",
        f"address replace {host.v6}/{UNDERLAY_V6_BITS} dev {device} nodad",
        f"link set {device} up",
    ]
    for address in namespace.addresses:
        suffix = " nodad" if address.version == 6 else ""
        lines.append(f"address replace {address}/{address.max_prefixlen} dev lo{suffix}")
    if namespace.gateway is not None:
        lines.append(f"route replace 0.0.0.0/0 via {namespace.gateway.v4} dev {device}")
        lines.append(f"route replace ::/0 via {namespace.gateway.v6} dev {device}")
    return lines


def build(site: LabSite) -> None:
    """Makes what is missing of the lab's network.

    Raises:
        TopologyError: The kernel refused a step; the message is `ip`'s.
    """
    wanted = namespaces(site)
    for namespace in wanted:
        if not netns_path(namespace.name).exists():
            _run(["ip", "netns", "add", namespace.name])
    for namespace in wanted:
        _set_sysctls(namespace)
    bridge = wanted[0]
    _batch(bridge.name, link_commands(wanted, _devices(bridge.name)))
    for namespace in wanted:
        _batch(namespace.name, address_commands(namespace))


def remove(names: tuple[str, ...]) -> None:
    """Deletes network namespaces by name, with every link that ends in them."""
    for name in names:
        _run(["ip", "netns", "delete", name])


def present_namespaces(site: LabSite) -> tuple[str, ...]:
    """Names of the lab's network namespaces that exist, pods' among them."""
    folder = netns_path("")
    if not folder.is_dir():
        return ()
    prefix = f"cilia-{site.name}-"
    return tuple(sorted(path.name for path in folder.iterdir() if path.name.startswith(prefix)))


def _devices(namespace: str) -> frozenset[str]:
    listing = json.loads(_run(["ip", "-n", namespace, "-j", "link", "show"]))
    return frozenset(device["ifname"] for device in listing)


def _batch(namespace: str, lines: list[str]) -> None:
    _run(["ip", "-n", namespace, "-batch", "-"], "\n".join(lines) + "\n")


def _set_sysctls(namespace: Namespace) -> None:
    writes = [
        f"echo {value} > /proc/sys/{key.replace('.', '/')}"
        for key, value in namespace.sysctls.items()
    ]
    _run(
        ["nsenter", f"--net={netns_path(namespace.name)}", "sh", "-e", "-s"],
        "\n".join(writes) + "\n",
    )


def _run(command: list[str], text: str = "") -> str:
    """What a command prints; its own words become the error's."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TopologyError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
