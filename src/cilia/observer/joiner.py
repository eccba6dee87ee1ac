"""Gives stored flows their names, beside the way on which they come in."""

import asyncio
import contextlib
import logging
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.parties import SIDES
from cilia.hubble.ports import Names
from cilia.hubble.store import FlowStore
from cilia.runtime.services import pause

log = logging.getLogger(__name__)

LIMIT_S = 0.5
"""How long flows wait for the names of newcomers before they are shown without."""
AGAIN_S = 2.0
"""How often parties that nobody knew are asked for again, and owners are looked at."""
SHARE = 20
"""Learning what has changed takes at most so small a share of the time: the agent works for it."""
STRANGERS = 256
"""Parties without a name that are asked for again, the youngest."""


class LearningNames(Names, Protocol):
    """Look-ups from memory that can be told to learn."""

    node_labels: tuple[str, ...]
    """Of this node, `key=value` each."""

    async def learn(self, records: NDArray[np.void]) -> None:
        """Asks for every number in `records` that is not known yet."""

    async def refresh(self) -> bool:
        """Learns anew what has changed; whether anything has."""


class Joiner:
    """A Service: asks for newcomers and shows readers the flows that came before the answer.

    Args:
        store: The flows.
        names: Where names come from; one that does not answer delays, and blocks nothing.
    """

    name = "joiner"

    def __init__(self, store: FlowStore, names: LearningNames) -> None:
        self._store = store
        self._names = names
        self._fresh: list[NDArray[np.void]] = []
        self._strangers: NDArray[np.void] | None = None
        self._wake = asyncio.Event()
        self._is_asking = False

    def notice(self) -> None:
        """Flows have come in."""
        fresh = self._store.take_fresh()
        if len(fresh):
            self._fresh.append(fresh)
            self._wake.set()
        elif not self._is_asking and not self._fresh:
            self._store.show(self._store.total)

    async def run(self, ready: asyncio.Event) -> None:
        """Asks until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refresh(), name="names")
            ready.set()
            while True:
                if await pause(self._wake, AGAIN_S):
                    await self._ask(np.concatenate(self._fresh))
                elif self._strangers is not None:
                    await self._ask(self._strangers)

    async def _refresh(self) -> None:
        """What is already named may be somebody else's by now; newcomers do not wait for this."""
        while True:
            began = time.monotonic()
            if await self._names.refresh():
                self._join()
            await asyncio.sleep(max(AGAIN_S, SHARE * (time.monotonic() - began)))

    def _join(self) -> None:
        self._store.parties.join(self._names)
        self._store.services.join(self._names)
        self._store.node_labels = self._names.node_labels

    async def _ask(self, records: NDArray[np.void]) -> None:
        self._wake.clear()
        self._fresh = []
        self._is_asking, total = True, self._store.total
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                await self._names.learn(records)
        self._join()
        self._is_asking = False
        self._store.show(total if self._fresh else self._store.total)
        self._strangers = self._nameless(records)

    def _nameless(self, records: NDArray[np.void]) -> NDArray[np.void] | None:
        """Those of `records`, and of the strangers before, that lack a name still."""
        if self._strangers is not None and records is not self._strangers:
            records = np.concatenate([self._strangers, records])
        asked = records[-STRANGERS:]
        known = [self._is_known(row) for row in asked]
        left: NDArray[np.void] = asked[~np.array(known, bool)]
        return left if len(left) else None

    def _is_known(self, row: np.void) -> bool:
        """Whether there is nothing about a record that the agent may still tell."""
        names, provenance = self._names, int(row["provenance"])
        return (not provenance or bool(names.policies(provenance))) and all(
            (not (number := int(row[f"{side}_endpoint"])) or names.endpoint(number) is not None)
            and (not (identity := int(row[f"{side}_identity"])) or bool(names.labels(identity)))
            for side in SIDES
        )
