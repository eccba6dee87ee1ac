"""Both families' pools as one: what a pod is given."""

import ipaddress
from collections import Counter
from collections.abc import Iterable

import msgspec

from cilia.ipam.pool import Address, Network, Pool, PoolFull


class AddressPair(msgspec.Struct, frozen=True):
    """A pod's addresses; one of them may be missing."""

    v4: ipaddress.IPv4Address | None = None
    v6: ipaddress.IPv6Address | None = None


class HostScope:
    """Addresses from the pod networks that this node was given.

    Attributes:
        events: Addresses allocated (or claimed) and released, by ("allocate" or "release",
            IP version).
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        """Takes one network a family.

        Raises:
            ValueError: None at all, two of one family, or one without room.
        """
        self.events: Counter[tuple[str, int]] = Counter()
        self.v4: Pool | None = None
        self.v6: Pool | None = None
        for network in networks:
            family = f"v{network.version}"
            if getattr(self, family) is not None:
                raise ValueError(f"pod network {network}: a second one of its family")
            setattr(self, family, Pool(network))
        if self.v4 is None and self.v6 is None:
            raise ValueError("no pod network: set podCIDRs on the Node, or pass pod networks")

    def allocate(self, owner: str) -> AddressPair:
        """An address of each family that the node has, or none at all.

        Raises:
            PoolFull: One family has none left.
        """
        v4 = self.v4.allocate(owner) if self.v4 else None
        try:
            v6 = self.v6.allocate(owner) if self.v6 else None
        except PoolFull:
            if self.v4 and v4:
                self.v4.release(v4)
            raise
        self._note("allocate", v4, v6)
        return AddressPair(
            v4=v4 if isinstance(v4, ipaddress.IPv4Address) else None,
            v6=v6 if isinstance(v6, ipaddress.IPv6Address) else None,
        )

    def claim(
        self, v4: ipaddress.IPv4Address | None, v6: ipaddress.IPv6Address | None, owner: str
    ) -> None:
        """Takes a pod's addresses again after a restart.

        Raises:
            ValueError: The node does not have that network any more.
            Conflict: Somebody else has one of them.
        """
        for pool, address in ((self.v4, v4), (self.v6, v6)):
            if address is not None:
                if pool is None:
                    raise ValueError(f"{address}: the node has no pod network of that family")
                pool.claim(address, owner)
                self._note("allocate", address)

    def release(self, v4: ipaddress.IPv4Address | None, v6: ipaddress.IPv6Address | None) -> None:
        """Gives a pod's addresses back; what nobody had is no error."""
        for pool, address in ((self.v4, v4), (self.v6, v6)):
            if pool and address and address in pool.network:
                self.events["release", address.version] += pool.release(address)

    def _note(self, action: str, *addresses: Address | None) -> None:
        self.events.update((action, one.version) for one in addresses if one is not None)

    def pools(self) -> list[Pool]:
        """The pools there are, IPv4 first."""
        return [pool for pool in (self.v4, self.v6) if pool is not None]
