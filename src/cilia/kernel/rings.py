"""A BPF ring buffer of fixed-size records, read as one numpy array.

The kernel maps the data twice in a row, so a run of records that wraps around
the end is still one array. One reader at a time: it owns the consumer position.

Source:
    Linux Documentation/bpf/ringbuf.rst; kernel/bpf/ringbuf.c.
"""

import mmap
import select
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.kernel.btf import DType
from cilia.kernel.maps import Map

_PAGE = mmap.PAGESIZE
_HEADER = 8
_BUSY, _DISCARD = np.uint32(1 << 31), np.uint32(1 << 30)


class Ring:
    """The reading end of one ring."""

    def __init__(self, ring: Map, layout: DType) -> None:
        """Maps the ring into memory.

        Args:
            ring: A map of kind RINGBUF; stays the caller's.
            layout: dtype of the records, all of one size.
        """
        self.fd = ring.fd
        """Readable (epoll) when a program asked for a wake-up."""
        self.layout = layout
        self._size = ring.max_entries
        self._stride = (_HEADER + layout.itemsize + 7) // 8 * 8
        self._frame = np.dtype(
            {
                "names": ["length", "record"],
                "formats": ["<u4", f"V{layout.itemsize}"],  # copied whole, not field by field
                "offsets": [0, _HEADER],
                "itemsize": self._stride,
            }
        )
        self._ours = mmap.mmap(ring.fd, _PAGE)
        self._theirs = mmap.mmap(ring.fd, _PAGE + 2 * self._size, prot=mmap.PROT_READ, offset=_PAGE)
        self._consumed = np.frombuffer(self._ours, "<u8", count=1)
        self._produced = np.frombuffer(self._theirs, "<u8", count=1)
        self.discarded = 0
        """Records that a program took back, since this reader began."""
        self._peeked = self._peeked_discarded = 0

    def pending(self) -> int:
        """How many bytes wait, headers and unfinished records included."""
        return int(self._produced[0]) - int(self._consumed[0])

    @property
    def consumed(self) -> int:
        """Records that readers are done with since the ring was made, those taken back among
        them. The ring itself keeps the number: it outlives every reader.
        """
        return int(self._consumed[0]) // self._stride

    @property
    def waiting(self) -> int:
        """Records that no reader is done with."""
        return self.pending() // self._stride

    @property
    def size(self) -> int:
        """Bytes that the ring holds."""
        return self._size

    def read(self, limit: int | None = None) -> NDArray[Any]:
        """Takes the finished records out of the ring, oldest first: `peek`, then `release`."""
        records = self.peek(limit)
        self.release()
        return records

    def release(self) -> None:
        """Gives back the room of what was peeked at last. A reader that dies before it does
        leaves these records to the next one.
        """
        self._consumed[0] += np.uint64(self._peeked)
        self.discarded += self._peeked_discarded
        self._peeked = self._peeked_discarded = 0

    def peek(self, limit: int | None = None) -> NDArray[Any]:
        """The finished records, oldest first, which stay in the ring until `release`.

        Args:
            limit: At most so many; else all that are there.

        Returns:
            Shape (n,), the caller's own copy; n is 0 when nothing waits, or when
            the oldest record is still being written.

        Raises:
            ValueError: A record has another size: program and reader do not belong together.
        """
        self._peeked = self._peeked_discarded = 0
        consumed = int(self._consumed[0])
        count = (int(self._produced[0]) - consumed) // self._stride
        if limit is not None:
            count = min(count, limit)
        if count <= 0:
            return np.zeros(0, self.layout)
        frames = np.ndarray(
            (count,), self._frame, self._theirs, offset=_PAGE + (consumed & (self._size - 1))
        )
        lengths = frames["length"]
        if (lengths == self.layout.itemsize).all():
            records = frames["record"].copy().view(self.layout)
        else:
            frames, records = self._sift(frames, lengths.copy())
        self._peeked = len(frames) * self._stride
        return records

    def _sift(
        self, frames: NDArray[Any], lengths: NDArray[np.uint32]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """The frames before the first unfinished one, and their records that count."""
        busy = (lengths & _BUSY) != 0
        if busy.any():
            end = int(busy.argmax())
            frames, lengths = frames[:end], lengths[:end]
        taken_back = (lengths & _DISCARD) != 0
        wrong = (lengths & ~_DISCARD) != self.layout.itemsize
        if wrong.any():
            found = int(lengths[wrong.argmax()] & ~_DISCARD)
            raise ValueError(
                f"ring holds a record of {found} bytes, expected {self.layout.itemsize}: "
                "restart the observer after an upgrade of the agent"
            )
        self._peeked_discarded = int(taken_back.sum())
        return frames, frames["record"][~taken_back].view(self.layout)

    def close(self) -> None:
        """Unmaps the ring; records already read stay valid."""
        del self._consumed, self._produced
        self._ours.close()
        self._theirs.close()


class WakeUps:
    """One file descriptor that is readable when a program asked for a wake-up on any ring.

    Edge-triggered: records that came without asking leave it quiet, however many wait.

    Source:
        epoll(7), "Level-triggered and edge-triggered".
    """

    def __init__(self, rings: Iterable[Ring]) -> None:
        self._epoll = select.epoll()
        for ring in rings:
            self._epoll.register(ring.fd, select.EPOLLIN | select.EPOLLET)

    def fileno(self) -> int:
        """For another poll, or an event loop."""
        return self._epoll.fileno()

    def clear(self) -> None:
        """Forgets the wake-ups so far."""
        self._epoll.poll(0)

    def close(self) -> None:
        """Closes the descriptor; the rings stay open."""
        self._epoll.close()


def merge(batches: Sequence[NDArray[Any]], by: str) -> NDArray[Any]:
    """Batches of one layout as one array, sorted by a column; equal ones keep their order.

    Rows move whole: joined or picked as structured rows, numpy would go through them field
    by field, thirty times slower, and turn network-order columns into host order.

    Args:
        batches: At least one, contiguous.
        by: Name of the column.
    """
    layout = batches[0].dtype
    order = np.argsort(np.concatenate([batch[by] for batch in batches]), kind="stable")
    rows = np.concatenate([batch.view(f"V{layout.itemsize}") for batch in batches])
    return rows[order].view(layout)
