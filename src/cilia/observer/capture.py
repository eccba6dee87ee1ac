"""The first bytes of dropped packets, while somebody asks for them.

Source:
    bpf/lib/capture.h.
"""

from collections import OrderedDict

import numpy as np

from cilia.datapath import layout, loader
from cilia.kernel.errors import NotFoundError
from cilia.kernel.maps import Map
from cilia.kernel.rings import Ring
from cilia.model.site import NodeSite

KEPT = 4_096
"""Captures that wait for their events."""


class Captures:
    """`hubble.monitor.Packets` of a node's datapath.

    Args:
        switch: The map that turns capturing on and off.
        ring: Where captures come in.
    """

    def __init__(self, switch: Map, ring: Ring) -> None:
        self._switch = switch
        self._ring = ring
        self._is_on = True  # as an observer that was killed may have left it
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self.want(wanted=False)

    def want(self, wanted: bool) -> None:
        """Turns capturing on or off."""
        if wanted == self._is_on:
            return
        self._is_on = wanted
        self._switch.update(0, int(wanted))
        self._ring.read()  # of drops that nobody asked about
        self._kept.clear()

    def of(self, record: np.void) -> bytes:
        """What the packet of a drop event began with; empty when it was not captured."""
        key = (int(record["time"]), int(record["ifindex"]))
        if key not in self._kept:
            self._take()
        return self._kept.pop(key, b"")

    def _take(self) -> None:
        for one in self._ring.read():
            taken = one["bytes"].tobytes()[: int(one["captured"])]
            self._kept[int(one["time"]), int(one["ifindex"])] = taken
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def close(self) -> None:
        """Turns capturing off."""
        self.want(wanted=False)
        self._ring.close()


def open_captures(site: NodeSite) -> Captures | None:
    """Those of a node; None when its agent loaded a datapath that has none."""
    try:
        switch, ring = (loader.open_map(site, name) for name in ("capture_wanted", "captures"))
    except (NotFoundError, FileNotFoundError):
        return None
    return Captures(switch, Ring(ring, layout.struct("capture_record")))
