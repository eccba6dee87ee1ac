"""One number for each label set, agreed on by all nodes."""

import asyncio
import logging
from collections import Counter

from cilia.identity.ports import (
    IdentityStore,
    Listed,
    NumberTaken,
    Removed,
    StoreAway,
    Stored,
    StoredIdentity,
)
from cilia.model.backoff import Backoff
from cilia.model.errors import CiliaError
from cilia.model.identities import (
    CLUSTER_FIRST,
    CLUSTER_LAST,
    candidate_number,
    next_candidate,
    reserved_labels,
)
from cilia.model.labels import LabelSet
from cilia.runtime.table import Table
from cilia.state.identities import IdentityRow

log = logging.getLogger(__name__)


class IdentitiesFull(CiliaError):
    """Every number of the cluster is taken."""


class ClusterIdentities:
    """A Service that keeps the identities table and allocates numbers.

    Attributes:
        waiting: Label sets that have no number yet, and why.
        stored: What the cluster holds, by number.
    """

    name = "identities"

    def __init__(self, store: IdentityStore, table: Table[IdentityRow]) -> None:
        self.waiting: dict[LabelSet, str] = {}
        self.stored: dict[int, StoredIdentity] = {}
        self._store = store
        self._table = table
        self._used: Counter[LabelSet] = Counter()
        self._locks: dict[LabelSet, asyncio.Lock] = {}
        self._lost: set[int] = set()
        self._work = asyncio.Event()
        table.upsert(*(IdentityRow(n, labels) for n, labels in reserved_labels().items()))

    # What endpoints ask for

    async def allocate(self, labels: LabelSet) -> int:
        """Returns the number of a label set, and holds it until `release`.

        Waits as long as the API server is away and the set is new; `waiting` then
        says why. Cancelling the wait holds nothing.

        Raises:
            IdentitiesFull: no number is left.
        """
        lock = self._locks.setdefault(labels, asyncio.Lock())
        backoff = Backoff(limit_s=5.0)
        try:
            async with lock:
                while True:
                    try:
                        number = self.number_of(labels) or await self._create(labels)
                    except StoreAway as error:
                        self._note_wait(labels, str(error))
                        await asyncio.sleep(backoff.next_s())
                        continue
                    self._used[labels] += 1
                    return number
        finally:
            self.waiting.pop(labels, None)
            if not lock.locked() and self._locks.get(labels) is lock:
                del self._locks[labels]

    def restore(self, labels: LabelSet, number: int) -> None:
        """Holds a number that an endpoint had before a restart.

        It counts at once, whether or not the API server has been heard; should the
        cluster not have it any more, it is made again under the same number.
        """
        self._used[labels] += 1
        known = self._table.get(number)
        if known is None:
            self._table.upsert(IdentityRow(number, labels))

    def release(self, labels: LabelSet) -> None:
        """Lets go of one hold on a label set's number."""
        self._used[labels] -= 1
        if self._used[labels] <= 0:
            del self._used[labels]

    def references(self, labels: LabelSet) -> int:
        """Returns how many holds this node has on a label set."""
        return self._used[labels]

    def number_of(self, labels: LabelSet) -> int | None:
        """Returns the number that the table has for a label set; the lowest of several."""
        return min((row.number for row in self._table.by("labels", labels)), default=None)

    def _note_wait(self, labels: LabelSet, why: str) -> None:
        if labels not in self.waiting:
            log.warning("identity waits for its store", extra={"labels": labels, "error": why})
        self.waiting[labels] = why

    async def _create(self, labels: LabelSet) -> int:
        number = candidate_number(labels)
        for _ in range(CLUSTER_FIRST, CLUSTER_LAST + 1):
            holder = self._table.get(number)
            if holder is None or holder.labels == labels:
                try:
                    stored = await self._store.create(number, labels)
                except NumberTaken:
                    pass
                else:
                    self._put(stored)
                    log.info("identity made", extra={"identity": number, "labels": labels})
                    return number
            number = next_candidate(number)
        raise IdentitiesFull(
            f"allocate an identity for {', '.join(labels)}: all numbers from {CLUSTER_FIRST} to "
            f"{CLUSTER_LAST} are taken; exclude labels that change often from identities"
        )

    # What the cluster says

    async def run(self, ready: asyncio.Event) -> None:
        """Follows the cluster's identities; ready at once, since known numbers work without."""
        ready.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="identities follow")
            group.create_task(self._repair(), name="identities repair")

    async def _follow(self) -> None:
        async for event in self._store.follow():
            match event:
                case Listed(identities):
                    self._replace(identities)
                case Stored(identity):
                    self._put(identity)
                case Removed(number):
                    self._remove(number)

    def _replace(self, identities: tuple[StoredIdentity, ...]) -> None:
        told = {identity.number for identity in identities}
        for identity in identities:
            self._put(identity)
        held = [row.number for row in self._table if CLUSTER_FIRST <= row.number <= CLUSTER_LAST]
        for number in held:
            if number not in told:
                self._remove(number)
        self._table.mark_synced()

    def _put(self, identity: StoredIdentity) -> None:
        self.stored[identity.number] = identity
        self._lost.discard(identity.number)
        self._table.upsert(IdentityRow(identity.number, identity.labels))
        if identity.unused_since and self._used[identity.labels]:
            self._work.set()

    def _remove(self, number: int) -> None:
        self.stored.pop(number, None)
        row = self._table.get(number)
        if row is None:
            return
        if self._used[row.labels]:
            # Our pods still carry it: it keeps its meaning here, and is made again.
            self._lost.add(number)
            self._work.set()
        else:
            self._table.delete(number)

    async def _repair(self) -> None:
        """Makes again what was deleted although we use it, and clears marks on what we use."""
        backoff = Backoff()
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._repair_once()
                backoff.reset()
            except StoreAway as error:
                log.warning("identities not repaired yet", extra={"error": str(error)})
                self._work.set()
                await asyncio.sleep(backoff.next_s())

    async def _repair_once(self) -> None:
        for number in list(self._lost):
            row = self._table.get(number)
            if row is None or not self._used[row.labels]:
                self._lost.discard(number)
                if row is not None:
                    self._table.delete(number)
                continue
            try:
                self._put(await self._store.create(number, row.labels))
            except NumberTaken as error:
                log.error(
                    "identity in use was given away",
                    extra={"identity": number, "labels": row.labels, "error": str(error)},
                )
                self._lost.discard(number)
        for identity in list(self.stored.values()):
            if identity.unused_since and self._used[identity.labels]:
                await self._store.mark_unused(identity, 0.0)
