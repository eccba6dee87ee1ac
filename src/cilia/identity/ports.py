"""What identity asks of the place where the cluster keeps its identities."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from cilia.model.errors import CiliaError
from cilia.model.labels import LabelSet


class NumberTaken(CiliaError):
    """The number belongs to another label set."""


class StoreAway(CiliaError):
    """The store does not answer, or refuses for now."""


class StoredIdentity(msgspec.Struct, frozen=True):
    """One identity as the cluster keeps it."""

    number: int
    labels: LabelSet
    uid: str = ""
    version: str = ""
    """Changes with each write, for preconditions."""
    unused_since: float = 0.0
    """When somebody found that nobody uses it (seconds since the epoch); 0: not found so."""


class Listed(msgspec.Struct, frozen=True):
    """All identities, as one list call saw them."""

    identities: tuple[StoredIdentity, ...]


class Stored(msgspec.Struct, frozen=True):
    """An identity was made or changed."""

    identity: StoredIdentity


class Removed(msgspec.Struct, frozen=True):
    """An identity was deleted."""

    number: int


class IdentityStore(Protocol):
    """The cluster's identities. Every call raises StoreAway when there is no answer."""

    async def create(self, number: int, labels: LabelSet) -> StoredIdentity:
        """Takes a number for a label set.

        Raises:
            NumberTaken: it belongs to another one; the same one is no error.
        """
        ...

    async def mark_unused(self, identity: StoredIdentity, since: float) -> None:
        """Sets (0: clears) the mark, if nobody wrote the identity since it was read."""
        ...

    async def remove(self, identity: StoredIdentity) -> None:
        """Deletes the identity, if nobody wrote it since it was read."""
        ...

    def follow(self) -> AsyncIterator[Listed | Stored | Removed]:
        """Yields all identities and then their changes, for ever."""
        ...
