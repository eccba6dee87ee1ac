"""Connections as rows, and the newest of those that have ended.

Hubble's API has no message for the end of a connection: these are no flows, and stock clients
do not see them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CAPACITY = 65_536

CONNECTION = np.dtype(
    [
        ("source", "V16"), ("destination", "V16"),
        ("source_port", "u2"), ("destination_port", "u2"),
        ("protocol", "u1"), ("flags", "u1"), ("tcp_flags", "u1", 2),
        ("source_identity", "u4"), ("destination_identity", "u4"),
        ("source_party", "u4"), ("destination_party", "u4"),
        ("provenance", "u4", 2),
        ("packets", "u8", 2), ("bytes", "u8", 2),
        ("first_seen", "i8"), ("last_seen", "i8", 2),
    ]
)  # fmt: skip
"""A connection; the source is who began it. Pairs are there and back, but for `provenance`,
which is of the ingress and of the egress verdict. Times are Unix times in ns; `last_seen` is 0
for a side that has sent nothing. `flags` are those of `enum conntrack_flag`.

Source:
    bpf/lib/conntrack.h.
"""

Connections = NDArray[np.void]


class EndedConnections:
    """The newest connections that have ended: about 10 MiB when full.

    Attributes:
        total: How many have ended; those beyond the capacity have made room.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.total = 0
        # Rows as bytes: moved whole, not field by field.
        self._rows: NDArray[Any] = np.empty(capacity, f"V{CONNECTION.itemsize}")

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    def add(self, rows: Connections) -> None:
        """Takes rows of `CONNECTION` in, the newest last."""
        self.total += len(rows)
        rows = rows[-self.capacity :]
        places = np.arange(self.total - len(rows), self.total) % self.capacity
        self._rows[places] = np.ascontiguousarray(rows).view(self._rows.dtype)

    def newest(self, number: int) -> Connections:
        """The newest ones, at most so many, oldest first; the caller's own."""
        count = min(number, len(self))
        places = np.arange(self.total - count, self.total) % self.capacity
        return self._rows[places].view(CONNECTION)
