"""One network's addresses and their owners.

An address that was released is not given out again before all others have had
their turn: a peer's stale connection shall not reach somebody else.
"""

import ipaddress

from cilia.model.errors import CiliaError, Conflict

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ROUTER = "router"
_SHOWN = 12


class PoolFull(CiliaError):
    """Every address of a pool has an owner; the text names them."""

    def __init__(self, network: Network, owners: dict[Address, str]) -> None:
        self.network = network
        self.owners = owners
        holders = sorted(f"{owner} ({address})" for address, owner in owners.items())
        more = f" and {len(holders) - _SHOWN} more" if len(holders) > _SHOWN else ""
        super().__init__(
            f"allocate an address from {network}: all {len(holders)} are in use by "
            f"{', '.join(holders[:_SHOWN])}{more}; "
            "delete pods of this node, or give it a larger pod network"
        )


class Pool:
    """The pool of one network.

    Reserved, as nobody's: the network's own address, the router's (the first
    one), and in IPv4 the broadcast address.
    """

    def __init__(self, network: Network) -> None:
        """An empty pool.

        Raises:
            ValueError: The network has no address left for a pod.
        """
        last = network.num_addresses - 1
        self._first, self._last = 2, last - 1 if network.version == 4 else last
        if self._first > self._last:
            raise ValueError(f"pod network {network} has no room for a pod: use a shorter prefix")
        self.network = network
        self.router: Address = network[1]
        """The gateway that pods see."""
        self._owners: dict[int, str] = {}
        self._next = self._first

    @property
    def capacity(self) -> int:
        """How many addresses there are for pods."""
        return self._last - self._first + 1

    @property
    def used(self) -> int:
        """How many have an owner."""
        return len(self._owners)

    def allocate(self, owner: str) -> Address:
        """A free address, from now on the owner's.

        Raises:
            PoolFull: There is none.
        """
        if self.used >= self.capacity:
            raise PoolFull(self.network, self.owners())
        while self._next in self._owners:
            self._advance()
        offset = self._next
        self._advance()
        self._owners[offset] = owner
        return self.network[offset]

    def claim(self, address: Address, owner: str) -> None:
        """Takes one address, as a restored endpoint does. The same owner may claim twice.

        Raises:
            ValueError: It is not an address for pods of this pool.
            Conflict: It is somebody else's.
        """
        offset = self._offset(address)
        holder = self._owners.get(offset, owner)
        if holder != owner:
            raise Conflict(f"address {address} belongs to {holder}, {owner} cannot have it")
        self._owners[offset] = owner

    def release(self, address: Address) -> bool:
        """Gives an address back; False when nobody had it."""
        return self._owners.pop(self._offset(address), None) is not None

    def owner(self, address: Address) -> str | None:
        """Who has an address."""
        return self._owners.get(self._offset(address))

    def owners(self) -> dict[Address, str]:
        """Every address in use, in order."""
        return {self.network[offset]: self._owners[offset] for offset in sorted(self._owners)}

    def _advance(self) -> None:
        self._next = self._first if self._next == self._last else self._next + 1

    def _offset(self, address: Address) -> int:
        offset = int(address) - int(self.network.network_address)
        if address.version != self.network.version or not self._first <= offset <= self._last:
            raise ValueError(f"{address} is not an address for pods of {self.network}")
        return offset
