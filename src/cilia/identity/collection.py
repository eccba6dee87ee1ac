"""Which identities nobody needs any more.

Two steps, so that a node which takes up an old number while we look can say so:
what nobody uses is marked; what has been marked for long enough, and was not
written since, is deleted. A node that uses a marked number clears the mark.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Set

import msgspec

from cilia.identity.ports import IdentityStore, StoreAway, StoredIdentity
from cilia.runtime.clock import Clock

log = logging.getLogger(__name__)


class Steps(msgspec.Struct, frozen=True):
    """What one look decides."""

    mark: tuple[StoredIdentity, ...]
    unmark: tuple[StoredIdentity, ...]
    remove: tuple[StoredIdentity, ...]


def collection_steps(
    stored: Iterable[StoredIdentity], used: Set[int], now: float, keep_s: float
) -> Steps:
    """Returns which identities to mark, to unmark and to delete.

    Args:
        stored: All identities of the cluster.
        used: Numbers that any pod or node holds.
        now: Seconds since the epoch.
        keep_s: How long a mark must have stood before its identity is deleted.
    """
    mark, unmark, remove = [], [], []
    for identity in stored:
        if identity.number in used:
            if identity.unused_since:
                unmark.append(identity)
        elif not identity.unused_since:
            mark.append(identity)
        elif now - identity.unused_since >= keep_s:
            remove.append(identity)
    return Steps(tuple(mark), tuple(unmark), tuple(remove))


class IdentityCollector:
    """A Service that looks every so often, on the one node that `is_leader` names.

    Args:
        stored: Gives all identities of the cluster; None while they are not known.
        used: Gives the numbers in use; None while that is not known.
    """

    name = "identity collector"

    def __init__(
        self,
        store: IdentityStore,
        clock: Clock,
        *,
        stored: Callable[[], Iterable[StoredIdentity]],
        used: Callable[[], Set[int] | None],
        is_leader: Callable[[], bool],
        interval_s: float,
        keep_s: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._stored = stored
        self._used = used
        self._is_leader = is_leader
        self._interval_s = interval_s
        self._keep_s = keep_s

    async def run(self, ready: asyncio.Event) -> None:
        """Looks until cancelled."""
        ready.set()
        while True:
            await self._clock.sleep(self._interval_s)
            used = self._used()
            if used is None or not self._is_leader():
                continue
            try:
                await self._look(used)
            except StoreAway as error:
                log.warning("identities not collected", extra={"error": str(error)})

    async def _look(self, used: Set[int]) -> None:
        steps = collection_steps(list(self._stored()), used, self._clock.now(), self._keep_s)
        for identity in steps.mark:
            await self._store.mark_unused(identity, self._clock.now())
        for identity in steps.unmark:
            await self._store.mark_unused(identity, 0.0)
        for identity in steps.remove:
            log.info("identity not used any more", extra={"identity": identity.number})
            await self._store.remove(identity)
