"""What the lab's internet is made of: its addresses, its names, its settings."""

from ipaddress import IPv4Address, IPv6Address

import msgspec

WORLD_ADDRESSES: tuple[IPv4Address | IPv6Address, ...] = (
    IPv4Address("1.1.1.1"),
    IPv4Address("1.0.0.1"),
    IPv4Address("8.8.8.8"),
    IPv4Address("9.9.9.9"),
    IPv4Address("104.16.1.10"),
    IPv4Address("104.16.1.20"),
    IPv6Address("2606:4700:4700::1111"),
    IPv6Address("2606:4700:4700::1001"),
    IPv6Address("2001:4860:4860::8888"),
    IPv6Address("2620:fe::fe"),
    IPv6Address("2606:4700::6810:10a"),
    IPv6Address("2606:4700::6810:114"),
)
"""Addresses that the world answers on, all on its loopback."""

NAMES: dict[str, tuple[str, ...]] = {
    "one.one.one.one": ("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"),
    "dns.google": ("8.8.8.8", "2001:4860:4860::8888"),
    "dns.quad9.net": ("9.9.9.9", "2620:fe::fe"),
    "cilium.io": ("104.16.1.10", "2606:4700::6810:10a"),
    "docs.cilium.io": ("104.16.1.10", "2606:4700::6810:10a"),
    "www.cilium.io": ("104.16.1.10", "2606:4700::6810:10a"),
    "kubernetes.io": ("104.16.1.20", "2606:4700::6810:114"),
    "k8s.io": ("104.16.1.20", "2606:4700::6810:114"),
    "example.com": ("104.16.1.20", "2606:4700::6810:114"),
    "www.example.com": ("104.16.1.20", "2606:4700::6810:114"),
}
"""The names of the world and their addresses (all of `WORLD_ADDRESSES`)."""


class WorldConfig(msgspec.Struct, frozen=True):
    """What the world is told."""

    addresses: tuple[str, ...]
    """Addresses on which DNS answers: each by itself, so that it answers from there."""
    certificate: str = ""
    """PEM file of the certificate for HTTPS; empty: no HTTPS."""
    key: str = ""
