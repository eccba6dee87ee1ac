"""Connections by family, protocol and whether they are over."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cilia.datapath.maps.conntrack import expired

Census = Mapping[tuple[str, str, str], int]
"""(ipv4 or ipv6, TCP or non-TCP, alive or deleted) to connections."""

_MAPPED = np.frombuffer(bytes(10) + b"\xff\xff", "u1")
_TCP = 6


def census_of(keys: NDArray[np.void], values: NDArray[np.void], now_s: int) -> Census:
    """Returns how many connections of each kind a sweep finds alive, and deletes.

    Args:
        keys: Shape `(n,)`, struct conntrack_key.
        values: Shape `(n,)`, struct conntrack_entry.
        now_s: CLOCK_MONOTONIC.
    """
    low = np.frombuffer(keys["low"].tobytes(), "u1").reshape(len(keys), 16)
    is_v6 = np.any(low[:, : len(_MAPPED)] != _MAPPED, axis=1)
    is_other = keys["protocol"] != _TCP
    cells = is_v6 * 4 + is_other * 2 + expired(values, now_s)
    counts = np.bincount(cells, minlength=8).tolist()
    kinds = product(("ipv4", "ipv6"), ("TCP", "non-TCP"), ("alive", "deleted"))
    return dict(zip(kinds, counts, strict=True))
