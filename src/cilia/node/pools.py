"""The node's pod networks, and where they are remembered while the API server is away."""

import ipaddress
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from cilia.model.errors import InvalidValue
from cilia.model.labels import Network
from cilia.runtime.table import Table
from cilia.state.nodes import Node

log = logging.getLogger(__name__)


class PodNetworks(msgspec.Struct, frozen=True):
    """At most one pod network a family."""

    v4: ipaddress.IPv4Network | None = None
    v6: ipaddress.IPv6Network | None = None

    @property
    def networks(self) -> tuple[Network, ...]:
        """Those that there are."""
        return tuple(each for each in (self.v4, self.v6) if each is not None)

    @property
    def texts(self) -> tuple[str, ...]:
        """The same as text."""
        return tuple(str(each) for each in self.networks)


def parse_pod_networks(texts: Iterable[str], *, ipv4: bool, ipv6: bool) -> PodNetworks:
    """Returns the first network of each family that is enabled.

    Raises:
        InvalidValue: one is not a prefix, or leaves no room for pods.

    >>> parse_pod_networks(["10.0.1.0/24", "fd00::/64"], ipv4=True, ipv6=False).texts
    ('10.0.1.0/24',)
    """
    v4, v6 = None, None
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise InvalidValue(f"pod network {text!r}: {error}") from error
        if network.num_addresses < 4:
            raise InvalidValue(f"pod network {text}: too small for router and pods; at least /30")
        if isinstance(network, ipaddress.IPv4Network):
            v4 = v4 or (network if ipv4 else None)
        else:
            v6 = v6 or (network if ipv6 else None)
    return PodNetworks(v4, v6)


class PodNetworkMemory:
    """A file with the networks of the last run.

    Args:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[str, ...]:
        """Returns the remembered networks; none when there is no readable file."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=tuple[str, ...])
        except (OSError, msgspec.DecodeError):
            return ()

    def save(self, texts: tuple[str, ...]) -> None:
        """Remembers networks; a crash leaves the old file or the new one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(texts))
        os.replace(fresh, self._path)


async def wait_pod_networks(nodes: Table[Node], name: str) -> tuple[str, ...]:
    """Waits until our Node object has pod networks, and returns them."""
    told = False
    with nodes.watch() as watch:
        async for batch in watch:
            node = nodes.get(name)
            if node is not None and node.pod_cidrs:
                return node.pod_cidrs
            if batch.synced and not told:
                told = True
                log.warning(
                    "waiting for pod networks: set them on the Node object (spec.podCIDRs), "
                    "or set pod-cidrs",
                    extra={"node": name, "known": node is not None},
                )
    raise AssertionError("a watch does not end")
