"""Settings of the endpoint room."""

import ipaddress

import msgspec


class EndpointSettings(msgspec.Struct, frozen=True):
    """What pods of this node have in common."""

    router_v4: ipaddress.IPv4Address | None
    """Gateway of pods."""
    router_v6: ipaddress.IPv6Address | None
    mtu: int = 1500
    """Of pods' interfaces."""
    cluster: str = "default"
    """Name of this cluster, part of every identity."""
    ready_wait_s: float = 3.0
    """How long ADD waits for the pod's policy before it answers; the pod is closed until then."""
