"""Harvests the counters of connections: all that was sent, whatever events left out.

    conntrack ─┐                        ┌─► totals   (by party, by rule)
               ├─► Harvest ─► ends of ──┤
    ended ─────┘   (a thread) connections└─► ended    (the newest that have ended)
    tally ─────► what was missed
                   ledger ──► <run>/connections.ledger

What conntrack counted less what was harvested is what was missed: an entry that the kernel
threw out for a newer one, or an end that found no room.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.datapath.maps.conntrack import connection_ids
from cilia.datapath.maps.ended import EndedMap, Tally, tally
from cilia.hubble.connections import BYTES, PACKETS, Harvest, Moves
from cilia.hubble.ended import CONNECTION, Connections, EndedConnections
from cilia.hubble.totals import Totals
from cilia.kernel.maps import Map
from cilia.model.errors import CiliaError
from cilia.observer.connection_rows import Ends, connections, counters_of, is_closed, picked
from cilia.observer.ledger_file import LedgerFile

log = logging.getLogger(__name__)

Rows = NDArray[Any]

SHARE = 9
"""How many times as long as a harvest takes nothing is harvested, at least: a tenth of a CPU."""
LONGEST_S = 30.0
"""But no longer than this, where a busy machine makes a harvest slow."""


class Moved(msgspec.Struct, frozen=True):
    """Connections of one batch that have something new about them."""

    rows: Connections
    moves: Moves


class HarvestCounts(msgspec.Struct, frozen=True):
    """How complete the totals are, as of the last harvest."""

    connections: int = 0
    """In conntrack."""
    packets: int = 0
    """Harvested, by this observer and those before it."""
    bytes: int = 0
    begun: int = 0
    """Connections that were seen."""
    ended: int = 0
    """Connections of which the end was seen."""
    counted_packets: int = 0
    """Counted by programs: what there was to harvest."""
    counted_bytes: int = 0
    missed_packets: int = 0
    """Counted and never harvested."""
    missed_bytes: int = 0
    crowded_packets: int = 0
    """Harvested, and in no total of two parties: there was no room for another pair."""
    crowded_bytes: int = 0
    vanished: int = 0
    """Connections that went between two harvests without an end."""
    refused: int = 0
    """Ends that found no room, as programs counted them."""
    took_s: float = 0.0


class Harvester:
    """A Service: harvests every so often.

    Args:
        maps: conntrack, ended and tally.
        ends: Who is at the ends of connections.
        file: Where the ledger is kept.
        interval_s: Between two harvests; shorter than a connection is remembered.
        offset_ns: Gives what makes the kernel's times Unix times.
        on_harvest: Called after each.

    Attributes:
        totals: Bytes and packets by party and by rule.
        ended: The newest connections that have ended.
        counts: How complete these are.
    """

    name = "harvester"

    def __init__(
        self,
        maps: Mapping[str, Map],
        ends: Ends,
        file: LedgerFile,
        *,
        interval_s: float,
        offset_ns: Callable[[], int],
        on_harvest: Callable[[], None] = lambda: None,
    ) -> None:
        self._maps = maps
        self._conntrack = maps["conntrack"]
        self._ended_map = EndedMap(maps)
        self._ends = ends
        self._file = file
        self._interval_s = interval_s
        self._offset_ns = offset_ns
        self._on_harvest = on_harvest
        self._ledger, self._sums = file.read()
        self.totals = Totals()
        self.ended = EndedConnections()
        self.counts = HarvestCounts()

    async def run(self, ready: asyncio.Event) -> None:
        """Harvests until cancelled."""
        ready.set()
        while True:
            try:
                await self.harvest()
            except (CiliaError, OSError) as error:
                log.error("connections not harvested", extra={"error": str(error)})
            rest_s = min(SHARE * self.counts.took_s, LONGEST_S)
            await asyncio.sleep(max(self._interval_s, rest_s))

    async def harvest(self) -> HarvestCounts:
        """Harvests once; how complete it is now.

        What has ended leaves its map when the ledger that knows of it is written: killed in
        between, a successor counts it no second time.
        """
        began, before = time.monotonic(), tally(self._maps)
        harvest = Harvest(self._ledger, self._sums)
        try:
            live = await self._harvest_live(harvest)
            kept, last = await asyncio.to_thread(self._look_at_ended, harvest)
        except CiliaError:
            self._ledger, self._sums = harvest.abandon()
            raise
        self._take(last)
        self._ledger, self._sums = await asyncio.to_thread(harvest.finish)
        await asyncio.to_thread(self._file.write, self._ledger, self._sums)
        await asyncio.to_thread(self._ended_map.drop, kept)
        self.counts = self._counts(before, live, time.monotonic() - began)
        self._on_harvest()
        return self.counts

    def largest(self, number: int, measure: str) -> Connections:
        """The live connections that moved most, the largest first; shape `(n,)`. Reads all of
        them, for a thread.

        Args:
            number: At most so many.
            measure: `bytes` or `packets`.
        """
        best = np.zeros(0, CONNECTION)
        for keys, values in self._conntrack.batches():
            order = np.argsort(values[measure].sum(axis=1))[::-1][:number]
            rows = connections(keys[order], values[order], self._offset_ns())
            best = np.concatenate([best, rows])
            best = best[np.argsort(best[measure].sum(axis=1))[::-1][:number]]
        return best

    def resolve(self, rows: Connections) -> None:
        """Fills in who is at the ends of connections."""
        if len(rows):
            self._ends.resolve(rows)

    async def _harvest_live(self, harvest: Harvest) -> int:
        """Looks at conntrack, a batch at a time; how many connections it holds."""
        live, looks = 0, self._looks(harvest)
        while (look := await asyncio.to_thread(next, looks, None)) is not None:
            count, moved = look
            live += count
            self._take(moved)
        return live

    def _looks(self, harvest: Harvest) -> Iterator[tuple[int, Moved]]:
        now_s, offset_ns = int(time.monotonic()), self._offset_ns()
        for keys, values in self._conntrack.batches():
            ids = connection_ids(keys, values["first_seen"])
            over = values["expires_s"] < now_s
            moves = harvest.live(ids, counters_of(values), is_closed(values), over)
            yield len(keys), _moved(keys, values, moves, offset_ns)

    def _look_at_ended(self, harvest: Harvest) -> tuple[Rows, Moved]:
        """Looks at what has ended: its keys in the map, and what moved."""
        kept, keys, values = self._ended_map.read()
        moves = harvest.gone(connection_ids(keys, values["first_seen"]), counters_of(values))
        return kept, _moved(keys, values, moves, self._offset_ns())

    def _take(self, each: Moved) -> None:
        rows, moves = each.rows, each.moves
        if not len(rows):
            return
        self.resolve(rows)
        parties = (rows["source_party"], rows["destination_party"])
        self.totals.add(parties, rows["provenance"], moves.moved, moves.is_new)
        self.ended.add(picked(rows, moves.ends))

    def _counts(self, counted: Tally, live: int, took_s: float) -> HarvestCounts:
        sums, last, crowded = self._sums, self.counts, self.totals.rest
        return HarvestCounts(
            connections=live,
            packets=sums.packets,
            bytes=sums.bytes,
            begun=sums.begun,
            ended=sums.ended,
            counted_packets=counted.packets,
            counted_bytes=counted.bytes,
            missed_packets=max(last.missed_packets, counted.packets - sums.packets),
            missed_bytes=max(last.missed_bytes, counted.bytes - sums.bytes),
            crowded_packets=int(crowded[PACKETS].sum()),
            crowded_bytes=int(crowded[BYTES].sum()),
            vanished=sums.vanished,
            refused=counted.refused,
            took_s=took_s,
        )


def _moved(keys: Rows, values: Rows, moves: Moves, offset_ns: int) -> Moved:
    """What of a batch is worth taking in."""
    news = moves.news
    rows = connections(picked(keys, news), picked(values, news), offset_ns)
    return Moved(rows, Moves(moves.moved[news], moves.is_new[news], moves.ends[news]))
