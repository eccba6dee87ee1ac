"""Maps that the settings want larger than they are: made anew, with the rows they had.

Only maps that the agent alone writes grow: it writes nothing while it loads, so the
copy is whole. What programs write themselves (connections) keeps its size.

    old map ─► new map, filled ─► programs on new maps take over ─► pins change over
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cilia.kernel.errors import NotFoundError
from cilia.kernel.maps import Map, MapKind
from cilia.model.errors import InvalidValue

_GROWING = (MapKind.HASH, MapKind.LPM_TRIE)


def too_small(folder: Path, capacities: Mapping[str, int]) -> dict[str, Map]:
    """Pinned maps that have fewer rows than they shall have, by name."""
    found = {}
    for name, rows in capacities.items():
        try:
            existing = Map.open(folder / name)
        except NotFoundError:
            continue
        if existing.kind in _GROWING and existing.max_entries < rows:
            found[name] = existing
    return found


def fill(new: Map, old: Map) -> None:
    """Copies all rows."""
    keys, values = old.entries()
    new.put(keys.view(new.key), values.view(new.value))


def pin_in_place(folder: Path, grown: Mapping[str, Map]) -> None:
    """Puts new maps where the old ones are pinned; each pin is one or the other."""
    for name, one in grown.items():
        fresh = folder / f"{name}_new"
        fresh.unlink(missing_ok=True)
        one.pin(fresh)
        os.rename(fresh, folder / name)


def check_names(capacities: Mapping[str, int], known: Iterable[str]) -> None:
    """Refuses sizes of maps that there are not.

    Raises:
        InvalidValue: Names the map, and those that there are.
    """
    names = sorted(known)
    for name, rows in capacities.items():
        if name not in names:
            raise InvalidValue(f"map-sizes: no map {name!r}; there are {', '.join(names)}")
        if not 0 < rows < 1 << 31:
            raise InvalidValue(f"map-sizes: {name}={rows}: give it 1 to {(1 << 31) - 1} rows")
