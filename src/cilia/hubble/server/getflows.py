"""GetFlows: which flows a request wants, from where to where."""

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from cilia.hubble.filters import Scene, compile_filters
from cilia.hubble.flows import FlowMaker, timestamp
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.server.limits import InvalidRequestError, check_limits
from cilia.hubble.store import Loss, Rows

Request = observer_pb2.GetFlowsRequest
Response = observer_pb2.GetFlowsResponse

EARLIEST, LATEST = -(1 << 63), (1 << 63) - 1
LOST_INTERVAL_S = 1.0
"""How often at most a reader is told that it was too slow."""


class FlowStream:
    """One GetFlows call.

    Args:
        request: What is wanted.
        scene: The flows.
        maker: Turns rows into flows.

    Raises:
        InvalidFilterError: A filter cannot be understood.
        InvalidRequestError: `first` with `follow`, a field mask that fits no flow, or more
            than one request may ask for.
    """

    def __init__(self, request: Request, scene: Scene, maker: FlowMaker) -> None:
        if request.first and request.follow:
            raise InvalidRequestError("first and follow: the oldest flows do not go on")
        check_limits(request)
        self._request = request
        self._scene = scene
        self._store = scene.store
        self._maker = maker
        self._test = compile_filters(request.whitelist, request.blacklist, scene)
        self._mask = checked_mask(request.field_mask)
        self._since = unix_ns(request.since) if request.HasField("since") else None
        self._until = unix_ns(request.until) if request.HasField("until") else LATEST
        self._is_over = False
        self._overrun = 0
        self._told_at = -LOST_INTERVAL_S
        self._serial = 0
        self._lost_before = 0

    async def responses(self) -> AsyncIterator[Response]:
        """The flows, oldest first, with the losses among them."""
        store, request = self._store, self._request
        end = LATEST if request.follow else store.shown
        position = await self._start()
        self._serial = self._first_serial(position)
        self._lost_before = store.lost - sum(loss.count for loss in self._untold())
        left = request.number if request.number and not request.follow else LATEST
        while left and not self._is_over and position < end:
            async for flow in self._passing(position, min(end, store.shown)):
                yield self._response(flow)
                left -= 1
                if not left:
                    break
            position = self._position
            for loss in self._due_losses(position):
                yield loss
            if request.follow and not self._is_over:
                await store.wait(position, self._serial)
            elif position >= end:
                return

    async def _passing(self, position: int, stop: int) -> AsyncIterator[flow_pb2.Flow]:
        """The flows from `position` to `stop` that pass; moves `_position` along."""
        self._position = position
        while self._position < stop and not self._is_over:
            if self._position < self._store.oldest:
                self._miss(self._store.oldest - self._position)
                self._position = self._store.oldest
                continue
            end = min(stop, self._position + self._test.stride)
            rows = next(self._store.pieces(self._position, end))
            numbers = self._numbers(rows)
            self._position = rows.first + len(rows)
            for number in numbers:
                try:
                    flow = self._maker.flow(number)
                except LookupError:
                    self._miss(1)
                    continue
                yield flow
            await asyncio.sleep(0)

    def _miss(self, count: int) -> None:
        """Notes flows that were gone before this stream came to them."""
        self._overrun += count
        self._store.overrun += count

    def _numbers(self, rows: Rows) -> list[int]:
        """The sequence numbers of the flows of a piece that are wanted."""
        wanted, when = self._test(rows), rows["time"]
        if self._since is not None:
            wanted = wanted & (when >= self._since)
        late = np.flatnonzero(when > self._until)
        if len(late):
            self._is_over = True
            wanted = wanted[: late[0]]
        return [rows.first + at for at in np.flatnonzero(wanted).tolist()]

    async def _start(self) -> int:
        """The sequence number where reading starts."""
        store, request, since = self._store, self._request, self._since
        if since is None and (request.first or not request.number):
            return store.shown if request.follow else store.oldest
        left, found = request.number, store.shown
        for rows in store.pieces_back(store.oldest, store.shown, self._test.stride):
            if rows.first < store.oldest:
                break
            if since is not None:
                older = np.flatnonzero(rows["time"] < since)
                if len(older):
                    return rows.first + int(older[-1]) + 1
            else:
                passing = np.flatnonzero(self._test(rows) & (rows["time"] <= self._until))
                if len(passing) >= left:
                    return rows.first + int(passing[-left])
                left -= len(passing)
                if len(passing):
                    found = rows.first + int(passing[0])
            await asyncio.sleep(0)
        return store.oldest if since is not None else found

    def _first_serial(self, position: int) -> int:
        losses = self._store.losses
        # Before the very first flow, what was lost while nobody read belongs to the story.
        later = (loss.serial for loss in losses if loss.position > position or not position)
        return next(later, self._store.loss_serial)

    def _due_losses(self, position: int) -> list[Response]:
        """What was lost up to here, and of this stream itself at most once a second."""
        found = self._ring_losses(position)
        now = time.monotonic()
        if self._overrun and (now - self._told_at >= LOST_INTERVAL_S or not self._request.follow):
            event = flow_pb2.LostEvent(
                source=flow_pb2.HUBBLE_RING_BUFFER, num_events_lost=self._overrun
            )
            found.append(self._lost(event, time.time_ns()))
            self._overrun, self._told_at = 0, now
        return found

    def _untold(self) -> list[Loss]:
        return [loss for loss in self._store.losses if loss.serial >= self._serial]

    def _ring_losses(self, position: int) -> list[Response]:
        """Losses of the rings up to here; those that were forgotten meanwhile are one."""
        kept = self._untold()
        if not kept:
            return []
        found = []
        forgotten = self._store.lost - self._lost_before - sum(loss.count for loss in kept)
        if forgotten:
            event = flow_pb2.LostEvent(
                source=flow_pb2.PERF_EVENT_RING_BUFFER, num_events_lost=forgotten
            )
            found.append(self._lost(event, kept[0].time))
            self._lost_before += forgotten
            self._serial = kept[0].serial
        for loss in kept:
            if loss.position > position:
                break
            found.append(self._lost(_ring_loss(loss), loss.time))
            self._lost_before += loss.count
            self._serial = loss.serial + 1
        return found

    def _lost(self, event: flow_pb2.LostEvent, time_ns: int) -> Response:
        return Response(lost_events=event, node_name=self._scene.node, time=timestamp(time_ns))

    def _response(self, flow: flow_pb2.Flow) -> Response:
        """The answer; its own time and node are there whatever the mask says: they order it."""
        whole = flow
        if self._mask is not None:
            flow = flow_pb2.Flow()
            self._mask.MergeMessage(whole, flow)
        return Response(flow=flow, node_name=whole.node_name, time=whole.time)


def checked_mask(mask: FieldMask) -> FieldMask | None:
    """The mask; None when it is empty.

    Raises:
        InvalidRequestError: A path is none of flow.Flow.
    """
    if not mask.paths:
        return None
    for path in mask.paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(flow_pb2.Flow.DESCRIPTOR):
            raise InvalidRequestError(f"field_mask {path!r}: flow.Flow has no such field")
    return mask


def _ring_loss(loss: Loss) -> flow_pb2.LostEvent:
    event = flow_pb2.LostEvent(source=flow_pb2.PERF_EVENT_RING_BUFFER, num_events_lost=loss.count)
    event.cpu.value = loss.cpu
    return event


def unix_ns(moment: Timestamp) -> int:
    """Nanoseconds since the epoch, cut to what a column holds."""
    return min(max(moment.seconds * 1_000_000_000 + moment.nanos, EARLIEST), LATEST)
