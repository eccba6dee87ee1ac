"""denied: packets that policies refused, by provenance number.

Programs write; the agent reads, adds the row that takes what finds no room, and makes
room when the map fills.

Source:
    bpf/lib/denied.h.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.datapath import layout
from cilia.kernel.errors import ExistsError
from cilia.kernel.maps import NO_EXIST, Map

COLUMNS = np.dtype([("number", "<u4"), ("counters", "<u8", 2), ("last_seen", "<u8")])
"""Of `DeniedMap.read`; counters are packets and bytes."""


class DeniedMap:
    """The map."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._rows = maps["denied"]
        self.rest = layout.constant("DENIED_REST")
        """The number under which counts what found no room."""
        with contextlib.suppress(ExistsError):
            self._rows.update(self.rest, np.zeros((), self._rows.value)[()], NO_EXIST)

    def read(self) -> NDArray[Any]:
        """Every row, summed over CPUs: shape `(n,)`, dtype COLUMNS.

        Counters never fall while their row is there.
        """
        keys, values = self._rows.entries()
        found = np.zeros(len(keys), COLUMNS)
        found["number"] = keys
        found["counters"][:, 0] = values["packets"].sum(axis=1)
        found["counters"][:, 1] = values["bytes"].sum(axis=1)
        found["last_seen"] = values["last_seen"].max(axis=1, initial=0)
        return found

    def make_room(self, rows: NDArray[Any], still: NDArray[np.bool_]) -> NDArray[Any]:
        """Removes rows that stood still, once the map is half full; the numbers removed.

        What such a row counts between `read` and its removal is lost to the account.

        Args:
            rows: From `read`.
            still: Which of them have not moved since the read before.
        """
        if 2 * len(rows) < self._rows.max_entries:
            return rows["number"][:0]
        idle: NDArray[Any] = rows["number"][still & (rows["number"] != self.rest)]
        self._rows.drop(idle)
        return idle
