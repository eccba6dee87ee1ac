"""DNS names of addresses, as pods heard them: what an address was called to whom, and when.

Two pods may know one address by different names, and a name may move on, so a flow is named
by what its own pod knew when it was seen. Who hears names (a DNS proxy) calls `learn`.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, Protocol

from numpy.typing import NDArray

from cilia.hubble.events import address_text

Key = tuple[int, str]

LIMIT = 65_536
"""Pairs of a pod and an address; those that were learned first go first."""
CHANGES = 16
"""Changes of names that are remembered for each."""


class HeardNames:
    """Names by endpoint and address, with the times from which they held."""

    def __init__(self) -> None:
        self.version = 0
        """Moves when an address comes to be called otherwise."""
        self._times: dict[Key, list[int]] = {}
        self._names: dict[Key, list[tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def learn(self, endpoint: int, address: str, names: tuple[str, ...], time_ns: int) -> None:
        """Notes what an address is called from now on; no names: they have expired.

        Args:
            endpoint: The number of the pod that asked.
            address: As text, IPv4 in its own form.
            names: In lower case, without the last dot.
            time_ns: Unix time, not before that of an earlier call for the same pair.
        """
        key = (endpoint, address)
        times, held = self._times.setdefault(key, []), self._names.setdefault(key, [])
        if held and held[-1] == names:
            return
        self.version += 1
        times.append(time_ns)
        held.append(names)
        del times[:-CHANGES], held[:-CHANGES]
        while len(self._times) > LIMIT:
            oldest = next(iter(self._times))
            del self._times[oldest], self._names[oldest]

    def at(self, endpoint: int, address: str, time_ns: int) -> tuple[str, ...]:
        """What the pod called the address then; empty: nothing that is known."""
        times = self._times.get((endpoint, address))
        if not times or not (found := bisect_right(times, time_ns)):
            return ()
        return self._names[endpoint, address][found - 1]

    def all(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every address with every name that anybody ever heard of it."""
        for (_, address), held in self._names.items():
            for names in held:
                yield address, names


class Columns(Protocol):
    """Rows of the store."""

    def __getitem__(self, name: str, /) -> NDArray[Any]: ...


OTHER = {"source": "destination", "destination": "source"}


def names_of(heard: HeardNames, rows: Columns, at: int, side: str) -> tuple[str, ...]:
    """What the pod of the other side called the address of one side, when the flow was seen."""
    endpoint = int(rows[f"{OTHER[side]}_endpoint"][at])
    if not endpoint:
        return ()
    return heard.at(endpoint, address_text(bytes(rows[side][at])), int(rows["time"][at]))
