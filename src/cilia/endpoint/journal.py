"""The states an endpoint went through, newest first, as `endpoint log` shows them."""

import datetime
from collections import deque

import msgspec

_KEPT = 64


class JournalEntry(msgspec.Struct, frozen=True):
    """One change of state. The fields are the REST API's EndpointStatusChange."""

    timestamp: str
    """RFC 3339, UTC."""
    code: str
    """ok or failed."""
    state: str
    message: str


class Journal:
    """What happened to each endpoint of this node."""

    def __init__(self) -> None:
        self._entries: dict[int, deque[JournalEntry]] = {}

    def note(self, endpoint: int, state: str, message: str, *, failed: bool = False) -> None:
        """Adds an entry; an endpoint keeps its newest 64."""
        moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        entry = JournalEntry(
            moment.replace("+00:00", "Z"), "failed" if failed else "ok", state, message
        )
        self._entries.setdefault(endpoint, deque(maxlen=_KEPT)).appendleft(entry)

    def of(self, endpoint: int) -> list[JournalEntry]:
        """The entries of an endpoint, newest first."""
        return list(self._entries.get(endpoint, ()))

    def forget(self, endpoint: int) -> None:
        """Drops an endpoint that is gone."""
        self._entries.pop(endpoint, None)
