"""Streams of several nodes, put in the order of their times.

A message leaves when nothing older can come any more, as far as one can know: every
node has said something later. A node that is silent is waited for, but not for long;
one whose clock is wrong is in the wrong place, and delays nobody for longer.
"""

import heapq
import math
from collections import deque

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """How much is held back, and how long."""

    length: int = 100
    """Messages of one node that may wait; when it has more, it is not read on."""
    drain_s: float = 1.0
    """How long a silent node is waited for; once the past is told, how long a message waits."""
    catch_up_s: float = math.inf
    """For so long the streams tell of the past, and a node that is silent still searches; then
    it has nothing to say, most likely."""


class _Entry:
    """One message that waits."""

    __slots__ = ("arrived", "gone", "message", "node")

    def __init__(self, node: str, message: bytes, arrived: float) -> None:
        self.node = node
        self.message = message
        self.arrived = arrived
        self.gone = False


class Merger:
    """What waits, and what may go.

    Args:
        limits: How much is held back.
        now: Monotonic time in seconds, as everywhere here.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._began = now
        self._heap: list[tuple[int, int, _Entry]] = []
        self._arrivals: deque[_Entry] = deque()
        self._serial = 0
        self._live: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._silent: dict[str, float] = {}
        """Nodes that are being read and have nothing here, and when they last spoke."""
        self._full = 0

    def __len__(self) -> int:
        return len(self._heap)

    def join(self, node: str, now: float) -> None:
        """A node's stream begins."""
        self._live.add(node)
        if not self._waiting.setdefault(node, 0):
            self._silent[node] = now

    def leave(self, node: str) -> None:
        """A node's stream has ended; nobody waits for it any more."""
        self._live.discard(node)
        self._silent.pop(node, None)

    def has_room(self, node: str) -> bool:
        """Whether more of this node may be added."""
        return self._waiting.get(node, 0) < self._limits.length

    def add(self, node: str, time_ns: int, message: bytes, now: float) -> bool:
        """A message has come; whether `take` or `due` may say something else than before."""
        entry = _Entry(node, message, now)
        heapq.heappush(self._heap, (time_ns, self._serial, entry))
        self._arrivals.append(entry)
        self._serial += 1
        count = self._waiting.get(node, 0) + 1
        self._waiting[node] = count
        self._silent.pop(node, None)
        if count == self._limits.length:
            self._full += 1
        return not self._silent or bool(self._full) or len(self._heap) == 1

    def take(self, now: float) -> list[bytes]:
        """What may go now, oldest first."""
        found: list[bytes] = []
        while self._heap and (not self._silent or self._is_pressing(now)):
            entry = heapq.heappop(self._heap)[2]
            entry.gone = True
            found.append(entry.message)
            count = self._waiting[entry.node]
            self._waiting[entry.node] = count - 1
            if count == self._limits.length:
                self._full -= 1
            if count == 1 and entry.node in self._live:
                self._silent[entry.node] = now
        return found

    def due(self, now: float) -> float | None:
        """In how many seconds `take` may give more although nothing has come; None: never."""
        if not self._heap:
            return None
        return max(0.0, self._deadline(now) - now)

    def _is_pressing(self, now: float) -> bool:
        return self._deadline(now) <= now

    def _deadline(self, now: float) -> float:
        """When the oldest message may go although a node is silent."""
        caught_up = self._began + self._limits.catch_up_s
        if now < caught_up:
            heard = max(self._silent.values(), default=self._began)
            return min(caught_up, heard + self._limits.drain_s)
        return self._began if self._full else self._oldest().arrived + self._limits.drain_s

    def _oldest(self) -> _Entry:
        """What has waited for longest."""
        while self._arrivals[0].gone:
            self._arrivals.popleft()
        return self._arrivals[0]
