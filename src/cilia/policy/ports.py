"""What policy asks of the kernel's maps, of the ipcache and of the endpoints."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cilia.model.prefixes import PrefixKeys
from cilia.policy.delta import Assignment


class RowMap(Protocol):
    """A kernel map that takes rows in bulk."""

    key: np.dtype[Any]
    value: np.dtype[Any]

    def entries(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns all keys and values."""
        ...

    def put(self, keys: Any, values: Any, flags: int = 0) -> int:
        """Writes rows; raises MapFull when there is no room."""
        ...

    def drop(self, keys: Any) -> int:
        """Removes rows; one that is missing is no error."""
        ...


class RulePrefixes(Protocol):
    """The part of the ipcache that rules decide."""

    def held(self) -> tuple[PrefixKeys, NDArray[np.uint32], NDArray[np.uint32]]:
        """All that the kernel's ipcache holds: keys, identities, and classes or 0."""
        ...

    def assign_prefixes(
        self, keys: PrefixKeys, identities: NDArray[np.uint32], classes: NDArray[np.uint32]
    ) -> None:
        """Makes these all the prefixes that rules name; the kernel has them on return."""
        ...

    def classify_addresses(
        self,
        keys: PrefixKeys,
        identities: NDArray[np.uint32],
        classes: NDArray[np.uint32],
        *,
        gone: PrefixKeys | None,
    ) -> None:
        """Gives addresses classes of their own, each while it has the identity named here.

        Args:
            keys: Shape `(n,)`, whole addresses, each once.
            identities: Shape `(n,)`.
            classes: Shape `(n,)`.
            gone: Those that follow their identity again; None: all others.
        """
        ...


class EndpointRows(Protocol):
    """The endpoints' rows in the kernel."""

    def policy_numbers(self) -> set[int]:
        """The policy numbers that any row has, whoever wrote it."""
        ...

    def assign(self, assignments: Mapping[int, Assignment]) -> None:
        """Writes what these endpoints' rows say of policy; the kernel has it on return.

        An endpoint that is not there any more is no error.
        """
        ...
