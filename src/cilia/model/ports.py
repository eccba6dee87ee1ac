"""Transport ports as rules write them, and as the kernel's prefix masks."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

PROTOCOLS: Mapping[str, int] = {"TCP": 6, "UDP": 17, "SCTP": 132, "ICMP": 1, "ICMPv6": 58}
PROTOCOL_NAMES: Mapping[int, str] = {number: name for name, number in PROTOCOLS.items()}
PORT_PROTOCOLS = (6, 17, 132)
"""What ANY means: those that have ports."""
ICMP_V4 = 1
ICMP_V6 = 58
PORT_LAST = 65535


class PortRange(msgspec.Struct, frozen=True, order=True):
    """Ports of one protocol, both ends included; for ICMP the types."""

    protocol: int
    first: int = 0
    last: int = PORT_LAST

    @property
    def is_every(self) -> bool:
        """True if it is the whole protocol."""
        return self.first == 0 and self.last == PORT_LAST

    def __str__(self) -> str:
        name = PROTOCOL_NAMES.get(self.protocol, str(self.protocol))
        if self.is_every:
            return name
        span = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{span}/{name}"


class NamedPort(msgspec.Struct, frozen=True, order=True):
    """A port that each peer, or the subject itself, resolves for itself."""

    protocol: int
    name: str

    def __str__(self) -> str:
        return f"{self.name}/{PROTOCOL_NAMES.get(self.protocol, str(self.protocol))}"


PortMatch = PortRange | NamedPort
NamedPorts = frozenset[tuple[str, int, int]]
"""(name, protocol, port) of a pod's containers."""


@lru_cache(maxsize=65536)
def port_masks(first: int, last: int) -> tuple[tuple[int, int], ...]:
    """The fewest (port, bits) prefixes that make up a range, both ends included.

    >>> port_masks(64, 127), port_masks(80, 80), len(port_masks(1, 65535))
    (((64, 10),), ((80, 16),), 16)
    """
    masks = []
    while first <= last:
        size = first & -first or 1 << 16
        while size > last - first + 1:
            size >>= 1
        masks.append((first, 17 - size.bit_length()))
        first += size
    return tuple(masks)
