"""What a commit of policy came to, for whoever keeps count."""

import time

import msgspec

from cilia.state.policies import Key


class Commit(msgspec.Struct, frozen=True):
    """One commit, from the engine to the kernel."""

    compute_s: float
    """What the engine took, in seconds."""
    write_s: float
    """What writing to the kernel took, in seconds."""
    error: str
    """Why the kernel is not in step; empty when it is."""
    endpoints: int
    """How many endpoints were to be switched to other rows."""
    accepted: tuple[Key, ...] = ()
    """Objects that were taken in, or taken out, since the commit before."""
    refused: tuple[Key, ...] = ()
    """Objects that were not."""
    delays: tuple[tuple[Key, float], ...] = ()
    """Objects that are in the kernel with this commit, and for how many seconds they were not."""


class CommitAccount:
    """Keeps what happened to policy objects between two commits."""

    def __init__(self) -> None:
        self._heard: dict[Key, float] = {}
        self._accepted: list[Key] = []
        self._refused: list[Key] = []

    def take_in(self, key: Key, *, refused: bool = False) -> None:
        """Takes note of an object that was heard of just now."""
        if refused:
            self._refused.append(key)
            self._heard.pop(key, None)
            return
        self._accepted.append(key)
        self._heard.setdefault(key, time.monotonic())

    def close(self, compute_s: float, write_s: float, error: str, endpoints: int) -> Commit:
        """Returns the commit that ends here; what is not in the kernel waits for the next."""
        heard: dict[Key, float] = {}
        if not error:
            heard, self._heard = self._heard, {}
        now = time.monotonic()
        accepted, self._accepted = tuple(self._accepted), []
        refused, self._refused = tuple(self._refused), []
        delays = tuple((key, now - at) for key, at in heard.items())
        return Commit(compute_s, write_s, error, endpoints, accepted, refused, delays)
