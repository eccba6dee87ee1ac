"""metric and event_stats: what was counted in the kernel, summed over CPUs.

Source:
    bpf/lib/metric.h, bpf/lib/event.h.
"""

from collections.abc import Mapping

import msgspec

from cilia.datapath import layout
from cilia.kernel.maps import Map

DIRECTIONS = ("unknown", "ingress", "egress", "service")


class MetricRow(msgspec.Struct, frozen=True):
    """Packets and bytes of one reason in one direction."""

    reason: int
    """0: forwarded; else a drop or forward reason (model.reasons)."""
    direction: str
    packets: int
    bytes: int


class MetricMap:
    """Packets and bytes by reason and direction."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._rows = maps["metric"]

    def rows(self) -> list[MetricRow]:
        """Rows that counted anything since the maps were made."""
        keys, values = self._rows.entries()
        width = layout.constant("METRIC_DIRECTIONS")
        packets = values["packets"].sum(axis=1)
        volume = values["bytes"].sum(axis=1)
        return [
            MetricRow(
                reason=int(keys[at]) // width,
                direction=DIRECTIONS[int(keys[at]) % width],
                packets=int(packets[at]),
                bytes=int(volume[at]),
            )
            for at in packets.nonzero()[0]
        ]


class EventStats(msgspec.Struct, frozen=True):
    """How many events programs tried to send, and how many found their ring full."""

    sent: tuple[int, ...]
    """By CPU; what was read plus what was lost."""
    lost: tuple[int, ...]
    """By CPU."""


def event_stats(maps: Mapping[str, Map]) -> EventStats:
    """The exact account of events since the maps were made."""
    rows = maps["event_stats"]
    counts = [
        tuple(int(one) for one in rows.lookup(layout.constant(name)))
        for name in ("EVENT_STAT_SENT", "EVENT_STAT_LOST")
    ]
    return EventStats(*counts)
