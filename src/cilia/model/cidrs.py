"""A set of prefixes with exceptions, as one value however many there are."""

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence

import numpy as np

from cilia.model.errors import InvalidValue
from cilia.model.labels import Network
from cilia.model.prefixes import PrefixKeys, distinct, parse_prefixes, prefix_of_key


class CidrSet:
    """The union of items, each a prefix less its exceptions.

    Immutable; equal sets are equal values and hash alike, whatever order they
    were written in.

    Attributes:
        keys: Shape `(n,)`, one prefix key an item.
        excluded: Shape `(m,)`, the exceptions' keys.
        owner: Shape `(m,)`, int64, for each exception the item that it belongs to.
    """

    __slots__ = ("_digest", "excluded", "keys", "owner")

    def __init__(self, keys: PrefixKeys, excluded: PrefixKeys, owner: Sequence[int]) -> None:
        self.excluded = excluded
        self.owner = np.asarray(owner, dtype=np.int64)
        # Items without exceptions are sorted and each kept once; the others keep their owner.
        if len(excluded) == 0 and len(keys) > 1:
            keys = distinct(keys)
        self.keys = keys
        self._digest = hashlib.sha256(
            len(keys).to_bytes(8) + keys.tobytes() + excluded.tobytes() + self.owner.tobytes()
        ).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CidrSet) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __len__(self) -> int:
        return len(self.keys)

    def __str__(self) -> str:
        shown = ", ".join(str(prefix_of_key(key)) for key in self.keys[:3].tolist())
        more = f" and {len(self.keys) - 3} more" if len(self.keys) > 3 else ""
        return f"{shown}{more}" + (f" except {len(self.excluded)}" if len(self.excluded) else "")

    @property
    def digest(self) -> str:
        """A text that is the same for equal sets, across processes."""
        return self._digest.hex()

    def covers(self, prefix: Network) -> bool:
        """True if every address of the prefix is in an item and not in its exceptions."""
        for index, key in enumerate(self.keys.tolist()):
            if not _contains(prefix_of_key(key), prefix):
                continue
            excluded = self.excluded[self.owner == index].tolist()
            if not any(_contains(prefix_of_key(hole), prefix) for hole in excluded):
                return True
        return False


def cidr_set(items: Iterable[tuple[str, Sequence[str]]]) -> CidrSet:
    """The set of `(prefix, exceptions)` items.

    Raises:
        InvalidValue: One of them is not a prefix.
    """
    ordered = sorted({(cidr, tuple(sorted(set(excluded)))) for cidr, excluded in items})
    keys = parse_prefixes([cidr for cidr, _ in ordered])
    excluded = parse_prefixes([hole for _, holes in ordered for hole in holes])
    owner = [index for index, (_, holes) in enumerate(ordered) for _ in holes]
    return CidrSet(keys, excluded, owner)


def plain_cidr_set(prefixes: Sequence[str]) -> CidrSet:
    """The set of many prefixes without exceptions.

    Raises:
        InvalidValue: One of them is not a prefix.
    """
    return CidrSet(parse_prefixes(prefixes), parse_prefixes([]), [])


def require_inside(cidr: str, excluded: str) -> None:
    """Checks that an exception starts inside its prefix, in the same family.

    Raises:
        InvalidValue: It does not.
    """
    outer = ipaddress.ip_network(cidr, strict=False)
    inner = ipaddress.ip_network(excluded, strict=False)
    if outer.version != inner.version or inner.network_address not in outer:
        raise InvalidValue(f"{excluded!r} is not inside {cidr}; name a prefix within it")


def _contains(outer: Network, inner: Network) -> bool:
    return (
        outer.version == inner.version
        and outer.prefixlen <= inner.prefixlen
        and inner.network_address in outer
    )
