"""What the node tells its programs, frozen into .rodata before they are loaded."""

import ipaddress

import msgspec
import numpy as np

from cilia.datapath import layout

_V4_BITS = 96

GATEWAY_MAC = "02:00:63:69:6c:61"
"""The router's, on every pod's link."""


class DatapathConfig(msgspec.Struct, frozen=True):
    """`struct config` of bpf/lib/config.h, in Python's forms."""

    node_v4: ipaddress.IPv4Address | None
    """Masquerade source: the node's address on the network."""
    node_v6: ipaddress.IPv6Address | None
    router_v4: ipaddress.IPv4Address | None
    """The gateway that pods see."""
    router_v6: ipaddress.IPv6Address | None
    pods_v4: ipaddress.IPv4Network | None
    """The cluster's pod network: never masqueraded."""
    pods_v6: ipaddress.IPv6Network | None
    net_ifindex: int
    """The device to other nodes and the world."""
    host_ifindex: int
    """cilia_host."""
    host_mac: str
    """Of cilia_host."""
    mtu: int = 1500
    trace_interval_s: int = 5
    """At most one trace event a connection and interval."""
    gateway_mac: str = GATEWAY_MAC
    """What ARP and neighbour discovery answer to pods, and what their CNI ADD gives them."""
    events: bool = True
    """False: no trace and verdict events; drops are always sent."""
    allow_host: bool = True
    """The local host reaches local pods whatever policy says."""
    masquerade_v4: bool = True
    masquerade_v6: bool = True
    tcp_established_s: int = 21600
    tcp_syn_s: int = 60
    tcp_closing_s: int = 10
    any_s: int = 60
    """UDP, ICMP and the rest."""
    nat_port_min: int = 1024
    nat_port_max: int = 65535
    class_by_address: bool = False
    """CIDR rules match pods and nodes as well: the ipcache is asked for their classes."""


def encode(config: DatapathConfig) -> bytes:
    """The bytes of `struct config`.

    Raises:
        LayoutError: The object's struct has a field that DatapathConfig does not know.
    """
    cell = np.zeros((), layout.struct("config"))
    values = {
        **{field: getattr(config, field) for field in config.__struct_fields__},
        "pods_v4_bits": _V4_BITS + config.pods_v4.prefixlen if config.pods_v4 else 0,
        "pods_v6_bits": config.pods_v6.prefixlen if config.pods_v6 else 0,
    }
    for field in cell.dtype.names or ():
        if field.startswith("pad"):
            continue
        if field not in values:
            raise layout.LayoutError(f"struct config has a field {field} that Python does not set")
        cell[field] = _encode_field(values[field])
    return cell.tobytes()


def _encode_field(value: object) -> bytes | int | list[int]:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return layout.encode_address(value.network_address)
    if value is None or isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return layout.encode_address(value)
    if isinstance(value, str):
        return layout.encode_mac(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"no form for {value!r} in struct config")
