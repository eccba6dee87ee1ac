"""How long to wait before trying again: exponential, with full jitter."""

import random


class Backoff:
    """Delays that double from `first_s` up to `limit_s`, each spread over its upper half.

    The spread keeps a hundred nodes that lost the same server from returning at once.

    >>> backoff = Backoff(first_s=1, limit_s=4)
    >>> [0.5 <= backoff.next_s() <= 1, 1 <= backoff.next_s() <= 2, 2 <= backoff.next_s() <= 4]
    [True, True, True]
    """

    def __init__(self, first_s: float = 0.2, limit_s: float = 30.0) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self.failures = 0

    def next_s(self) -> float:
        """Returns the next delay in seconds, and counts one more failure."""
        ceiling: float = min(self._limit_s, self._first_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return random.uniform(ceiling / 2, ceiling)

    def reset(self) -> None:
        """Begins again at `first_s`: the last try succeeded."""
        self.failures = 0
