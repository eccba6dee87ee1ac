"""What a log takes out of the store: lines, with what is missing said in its place."""

import time
from collections import deque

import msgspec
import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask

from cilia.hubble.export.aggregation import Aggregation
from cilia.hubble.export.config import ExportConfigError, ExportLog, flow_filter
from cilia.hubble.export.lines import flow_line, lost_line, moment
from cilia.hubble.filters import FlowTest, InvalidFilterError, Scene, compile_filters
from cilia.hubble.flows import FlowMaker
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import Loss, Rows

CHUNK = 16
"""Flows that are made in one go: some milliseconds."""


LATEST = (1 << 63) - 1


class Feed(msgspec.Struct, frozen=True):
    """Where flows come from."""

    scene: Scene
    maker: FlowMaker


class Counts(msgspec.Struct):
    """What happened to one log so far."""

    events: int = 0
    """Flows that became lines, or were counted in one."""
    lost: int = 0
    """Records that `lost_events` lines tell of."""
    overrun: int = 0
    """Those of them that were overwritten in the store before the log came to them."""
    bytes: int = 0
    """Written."""
    failures: int = 0
    """Writes that did not succeed, and were tried again."""
    lines: int = 0
    """Written, those about losses included."""


def check_filters(log: ExportLog, scene: Scene) -> None:
    """Raises ExportConfigError when a filter of a log cannot be understood."""
    try:
        _compiled(log, scene)
    except InvalidFilterError as error:
        raise ExportConfigError(f"flow log {log.name!r}: {error}") from error


def _compiled(log: ExportLog, scene: Scene) -> FlowTest:
    allow, deny = (
        [flow_filter(one) for one in some] for some in (log.include_filters, log.exclude_filters)
    )
    return compile_filters(allow, deny, scene)


class Source:
    """The flows of the store as one log wants them, from a sequence number on.

    Args:
        log: Filters, mask and aggregation.
        feed: The flows.
        position: The first sequence number.
        counts: What is counted on the way.

    Raises:
        InvalidFilterError: A filter cannot be understood.
    """

    def __init__(self, log: ExportLog, feed: Feed, position: int, counts: Counts) -> None:
        self._test = _compiled(log, feed.scene)
        self._store = feed.scene.store
        self._node = feed.scene.node
        self._maker = feed.maker
        self._mask = FieldMask(paths=log.field_mask) if log.field_mask else None
        self._groups = Aggregation(log.field_aggregate) if log.interval_s else None
        self._interval_s = log.interval_s
        self._due = time.monotonic() + self._interval_s
        self._counts = counts
        self.position = position
        """Everything before this sequence number has been dealt with."""
        self._scanned = position
        self._numbers: deque[int] = deque()
        later = (loss.serial for loss in self._store.losses if loss.position >= position)
        self._serial = next(later, self._store.loss_serial)
        self._lost = self._store.lost - sum(
            loss.count for loss in self._store.losses if loss.serial >= self._serial
        )

    @property
    def is_drained(self) -> bool:
        """Whether there is nothing to take at the moment."""
        return self.position >= self._store.shown and self.position < self._next_loss()

    @property
    def ahead(self) -> int:
        """Records that the store has taken in or told as lost, and the log has not dealt with."""
        return self._store.total - self.position + self._store.lost - self._lost

    @property
    def holds_groups(self) -> bool:
        """Whether flows are counted that stand in no line yet."""
        return bool(self._groups)

    def take(self) -> bytes:
        """The lines of the next flows, at most `CHUNK`; empty when none of them is wanted."""
        lines = self._overrun_lines() + self._loss_lines()
        if not self._numbers:
            self._scan()
        for _ in range(min(CHUNK, len(self._numbers))):
            number = self._numbers.popleft()
            lines += self._lines_of(self._maker.flow(number))
            self.position = number + 1
        if not self._numbers:
            self.position = self._scanned
        if self._groups is not None and (self._groups.is_full or time.monotonic() >= self._due):
            lines += self.take_groups()
        return b"".join(lines)

    def take_groups(self) -> list[bytes]:
        """The lines of what was counted since the last time."""
        self._due = time.monotonic() + self._interval_s
        if self._groups is None:
            return []
        now = moment(time.time_ns())
        return [flow_line(flow, self._node, now) for flow in self._groups.take()]

    def lost(self, count: int, source: flow_pb2.LostEventSource.ValueType, **more: int) -> bytes:
        """The line that says that records are missing here; counts them."""
        self._counts.lost += count
        event = flow_pb2.LostEvent(source=source, num_events_lost=count)
        for name in ("first", "last"):
            if name in more:
                getattr(event, name).CopyFrom(moment(more[name]))
        if "cpu" in more:
            event.cpu.value = more["cpu"]
        return lost_line(event, self._node.rpartition("/")[2], more.get("time", time.time_ns()))

    def _scan(self) -> None:
        """Looks for wanted flows in the next piece of the store, up to the next loss."""
        stop = min(self._store.shown, self._next_loss(), self.position + self._test.stride)
        if self.position >= stop:
            return
        rows: Rows = next(self._store.pieces(self.position, stop))
        self._scanned = rows.first + len(rows)
        self._numbers.extend((np.flatnonzero(self._test(rows)) + rows.first).tolist())

    def _lines_of(self, flow: flow_pb2.Flow) -> list[bytes]:
        self._counts.events += 1
        if self._groups is not None:
            self._groups.add(flow)
            return []
        node, when = flow.node_name, flow.time
        if self._mask is not None:
            whole, flow = flow, flow_pb2.Flow()
            self._mask.MergeMessage(whole, flow)
        return [flow_line(flow, node, when)]

    def _overrun_lines(self) -> list[bytes]:
        oldest = self._store.oldest
        missed = oldest - self.position
        if missed <= 0:
            return []
        self._numbers = deque(number for number in self._numbers if number >= oldest)
        self.position = oldest
        self._scanned = max(self._scanned, oldest)
        self._counts.overrun += missed
        return [self.lost(missed, flow_pb2.HUBBLE_RING_BUFFER)]

    def _loss_lines(self) -> list[bytes]:
        """Losses up to here; those that were forgotten since then are one."""
        kept = [loss for loss in self._store.losses if loss.serial >= self._serial]
        if not kept:
            return []
        lines = []
        forgotten = self._store.lost - self._lost - sum(loss.count for loss in kept)
        if forgotten:
            lines.append(self.lost(forgotten, flow_pb2.PERF_EVENT_RING_BUFFER))
            self._lost += forgotten
            self._serial = kept[0].serial
        for loss in kept:
            if loss.position > self.position:
                break
            lines.append(self._ring_line(loss))
            self._lost += loss.count
            self._serial = loss.serial + 1
        return lines

    def _ring_line(self, loss: Loss) -> bytes:
        return self.lost(loss.count, flow_pb2.PERF_EVENT_RING_BUFFER, cpu=loss.cpu, time=loss.time)

    def _next_loss(self) -> int:
        later = (loss.position for loss in self._store.losses if loss.serial >= self._serial)
        return next(later, LATEST)
