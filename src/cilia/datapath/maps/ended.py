"""ended and tally: what connections counted that conntrack holds no more, and all that it counted.

Whoever removes a connection keeps its last counters in `ended` first; the observer takes
them from there. What is missed none the less is the tally less what was harvested.

Source:
    bpf/lib/ended.h, bpf/lib/tally.h.
"""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.kernel.errors import MapFullError
from cilia.kernel.maps import Map

log = logging.getLogger(__name__)

Rows = NDArray[Any]


class Tally(msgspec.Struct, frozen=True):
    """All that conntrack counted since the maps were made, over all CPUs."""

    packets: int = 0
    bytes: int = 0
    begun: int = 0
    """Connections."""
    refused: int = 0
    """Connections of which a program found no room to keep the end."""


def tally(maps: Mapping[str, Map]) -> Tally:
    """The tally as it is now."""
    rows = maps["tally"].lookup(0)
    return Tally(*(int(rows[name].sum()) for name in ("packets", "bytes", "begun", "refused")))


class EndedMap:
    """The map."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._rows = maps["ended"]
        self._is_full = False

    def keep(self, keys: Rows, values: Rows) -> int:
        """Keeps rows of conntrack that are about to be removed; how many found room.

        Args:
            keys: Shape `(n,)`, struct conntrack_key.
            values: Shape `(n,)`, struct conntrack_entry.
        """
        if not len(keys):
            return 0
        try:
            kept = self._rows.put(ended_keys(keys, values["first_seen"], self._rows.key), values)
        except MapFullError as error:
            # Once: where no observer runs the map stays full, and every sweep finds it so.
            if not self._is_full:
                log.warning(
                    "ends of connections not kept: no observer takes them; start `cilia observer`",
                    extra={"kept": error.written, "of": len(keys)},
                )
            self._is_full = True
            return error.written
        self._is_full = False
        return kept

    def read(self) -> tuple[Rows, Rows, Rows]:
        """What is kept: the map's keys, and keys and values as conntrack had them."""
        kept, values = self._rows.entries()
        layout = self._rows.key["key"]
        raw = kept.view("u1").reshape(len(kept), self._rows.key.itemsize)[:, : layout.itemsize]
        return kept, np.ascontiguousarray(raw).view(layout).reshape(len(kept)), values

    def drop(self, kept: Rows) -> int:
        """Removes what has been taken, by keys of `read`; how many there were."""
        return self._rows.drop(kept)


def ended_keys(keys: Rows, first_seen: Rows, layout: np.dtype[Any]) -> Rows:
    """The keys under which connections are kept; shape `(n,)`, struct ended_key."""
    size = keys.dtype.itemsize
    raw = np.empty((len(keys), layout.itemsize), "u1")
    raw[:, :size] = np.ascontiguousarray(keys).view("u1").reshape(len(keys), size)
    raw[:, size:] = np.ascontiguousarray(first_seen, "<u8").view("u1").reshape(len(keys), 8)
    return raw.view(layout)[:, 0]
