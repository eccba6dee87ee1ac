"""Event rings to columns, and single records to values.

Source:
    bpf/lib/event.h.
"""

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.datapath import layout, loader
from cilia.kernel.maps import Map
from cilia.kernel.rings import Ring
from cilia.model.site import NodeSite


class Event(msgspec.Struct, frozen=True):
    """One record, as plain values."""

    time_ns: int
    """Since the epoch."""
    cpu: int
    type: int
    """enum event_type: 1 drop, 4 trace, 5 policy verdict."""
    subtype: int
    """Drop: reason; trace: trace point; verdict: direction."""
    verdict: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    protocol: int
    source_identity: int
    destination_identity: int
    source_endpoint: int
    destination_endpoint: int
    provenance: int
    policy: int
    generation: int
    length: int
    ifindex: int
    cookie: int
    tcp_flags: int
    icmp_type: int
    icmp_code: int
    reason: int
    match: int
    direction: int
    proxy_port: int
    file: int
    line: int


_PLAIN = tuple(
    field
    for field in Event.__struct_fields__
    if field not in ("time_ns", "cpu", "source", "destination")
)


def event_dtype() -> np.dtype[Any]:
    """Layout of a record."""
    return layout.struct("event_record")


def boot_offset_ns() -> int:
    """What to add to CLOCK_MONOTONIC to get the time since the epoch, now."""
    return time.time_ns() - time.monotonic_ns()


def decode(record: Any, cpu: int, offset_ns: int) -> Event:
    """One record as a value; for the few that someone looks at, not for all."""
    return Event(
        time_ns=int(record["time"]) + offset_ns,
        cpu=cpu,
        source=str(layout.decode_address(record["source"].item())),
        destination=str(layout.decode_address(record["destination"].item())),
        **{field: int(record[field]) for field in _PLAIN},
    )


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
