"""Event rings to columns.

Source:
    bpf/lib/event.h.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.datapath import layout, loader
from cilia.kernel.maps import Map
from cilia.kernel.rings import Ring
from cilia.model.site import NodeSite


def event_dtype() -> np.dtype[Any]:
    """Layout of a record."""
    return layout.struct("event_record")


class EventRings:
    """The reading ends of all rings of a node. One reader a node: the observer."""

    def __init__(self, site: NodeSite) -> None:
        """Opens what the agent pinned.

        Raises:
            NotFoundError: The datapath is not loaded.
        """
        self._maps: list[Map] = []
        self.rings: dict[int, Ring] = {}
        """By CPU."""
        for cpu, one in loader.rings(site):
            self._maps.append(one)
            self.rings[cpu] = Ring(one, event_dtype())

    def read(self, limit: int | None = None) -> Iterator[tuple[int, NDArray[np.void]]]:
        """What waits in each ring: CPU, and records of shape (n,), oldest first."""
        for cpu, ring in self.rings.items():
            records = ring.read(limit)
            if len(records):
                yield cpu, records

    def close(self) -> None:
        """Unmaps the rings; what they hold stays for the next reader."""
        for ring in self.rings.values():
            ring.close()
        for one in self._maps:
            one.close()
