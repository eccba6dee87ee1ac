"""How full each map is."""

from collections.abc import Mapping

import msgspec

from cilia.kernel.maps import ARRAYS, EVICTING, Map, MapKind

SPARE = ("ended",)
"""Maps that may be full: nothing is held closed for it, and what finds no room is counted."""


class MapUsage(msgspec.Struct, frozen=True):
    """One map's fill."""

    name: str
    kind: str
    capacity: int
    rows: int | None
    """None: an array or ring, which is as full as it is made."""
    key_bytes: int
    value_bytes: int
    refused: int = 0
    """Rows that found no room since this process opened the map."""
    evicts: bool = False
    """Whether a row that has no room takes the place of the one that was used least."""

    @property
    def pressure(self) -> float:
        """Share of the capacity in use, 0 to 1."""
        return 0.0 if self.rows is None or not self.capacity else self.rows / self.capacity

    @property
    def is_full(self) -> bool:
        """Whether the next row will be refused, and something stays closed for it."""
        return self.pressure >= 1 and not self.evicts and self.name not in SPARE


def usage(one: Map) -> MapUsage:
    """Counts a map's rows: reads all keys, so not for every second."""
    fixed = one.kind in ARRAYS or one.kind is MapKind.RINGBUF
    return MapUsage(
        name=one.name,
        kind=one.kind.name.lower(),
        capacity=one.max_entries,
        rows=None if fixed else one.count(),
        key_bytes=one.key.itemsize,
        value_bytes=one.value.itemsize,
        refused=one.refused,
        evicts=one.kind in EVICTING,
    )


def usages(maps: Mapping[str, Map]) -> list[MapUsage]:
    """The fill of all maps, fullest first."""
    found = [usage(one) for one in maps.values()]
    return sorted(found, key=lambda one: (-one.pressure, one.name))
