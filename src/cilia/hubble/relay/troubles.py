"""What nodes refuse, told once for all nodes that refuse it."""


class Troubles:
    """Error messages of nodes; equal ones within a window become one.

    The first is told at once, the others of that window with its end.

    Args:
        window_s: How long equal messages are gathered.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._nodes: dict[str, list[str]] = {}
        self._until: dict[str, float] = {}

    def add(self, node: str, message: str, now: float) -> bool:
        """Takes a message; whether it is to be told at once."""
        if message in self._until and now < self._until[message]:
            self._nodes.setdefault(message, []).append(node)
            return False
        self._until[message] = now + self._window_s
        return True

    def take(self, now: float, *, all_of_them: bool = False) -> list[tuple[str, list[str]]]:
        """The messages whose window is over, and who said each."""
        over = [one for one, until in self._until.items() if all_of_them or until <= now]
        for message in over:
            del self._until[message]
        return [(one, sorted(self._nodes.pop(one))) for one in over if one in self._nodes]

    def due(self, now: float) -> float | None:
        """In how many seconds `take` has something; None: never."""
        waiting = [self._until[message] for message in self._nodes]
        return max(0.0, min(waiting) - now) if waiting else None
