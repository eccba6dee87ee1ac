"""Newcomers are named before readers see them, and nobody waits for a dead agent."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cilia.hubble.ports import PolicyRef
from cilia.hubble.store import FlowStore
from cilia.observer.joiner import Joiner
from unit.hubble.made_records import RECORD, KnownNames, records

DEADLINE_S = 30


class Agent(KnownNames):
    """Knows nothing before it was asked, and answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.asked = 0
        self.refreshed = False
        self._later, self.pods = self.pods, {}

    node_labels: tuple[str, ...] = ("zone=a",)

    async def refresh(self) -> bool:
        self.refreshed = True
        return True

    async def learn(self, records: NDArray[np.void]) -> None:
        self.asked += len(records)
        await self.may_answer.wait()
        self.pods = self._later


async def until(store: FlowStore, shown: int) -> None:
    while store.shown < shown:
        await asyncio.sleep(0)


def joined(answers: bool) -> tuple[Agent, FlowStore]:
    """Two batches of the same parties, the first of them new."""

    async def run() -> tuple[Agent, FlowStore]:
        store, agent = FlowStore(RECORD, 8), Agent()
        joiner = Joiner(store, agent)
        if answers:
            agent.may_answer.set()
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            running = group.create_task(joiner.run(asyncio.Event()))
            store.add(records(3), 0)
            joiner.notice()
            assert store.shown == 0
            await until(store, 3)
            store.add(records(3), 0)
            joiner.notice()
            await until(store, 6)
            running.cancel()
        return agent, store

    return asyncio.run(run())


def test_a_newcomer_is_shown_with_its_name_and_asked_for_once() -> None:
    agent, store = joined(answers=True)
    assert agent.refreshed
    assert store.node_labels == ("zone=a",)
    assert {party.pod for party in store.parties.rows} == {"xwing", "deathstar-1"}
    assert agent.asked == 2


def test_an_agent_that_does_not_answer_costs_names_only() -> None:
    _, store = joined(answers=False)
    assert {party.pod for party in store.parties.rows} == {""}


class Forgetful(KnownNames):
    """Does not know what is in `unknown` yet."""

    node_labels: tuple[str, ...] = ()

    def __init__(self, unknown: str) -> None:
        super().__init__()
        self.unknown = unknown

    async def refresh(self) -> bool:
        return False

    async def learn(self, records: NDArray[np.void]) -> None:
        """Learns nothing."""

    def labels(self, identity: int) -> Sequence[str]:
        return () if self.unknown == "labels" else super().labels(identity)

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        return () if self.unknown == "policies" else super().policies(provenance)


@pytest.mark.parametrize(
    ("unknown", "left"), [("labels", 3), ("policies", 3), ("endpoint", 3), ("", 0)]
)
def test_what_was_not_answered_is_asked_for_again(unknown: str, left: int) -> None:
    names = Forgetful(unknown)
    if unknown == "endpoint":
        names.pods = {}
    joiner = Joiner(FlowStore(RECORD, 8), names)

    async def ask() -> None:
        await joiner._ask(records(3, provenance=5))
        for _ in range(3):
            if joiner._strangers is not None:
                await joiner._ask(joiner._strangers)

    asyncio.run(ask())
    assert (0 if joiner._strangers is None else len(joiner._strangers)) == left
