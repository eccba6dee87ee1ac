"""From a collection's events to a table."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec

from cilia.agent.objects import NamespaceItem
from cilia.agent.sources import Countdown, TableSource
from cilia.state import namespaces
from cilia.wire.kubernetes import Changed, Gone, KubernetesClient, Synced


def item(name: str, **labels: str) -> NamespaceItem:
    return msgspec.convert({"metadata": {"name": name, "labels": labels}}, NamespaceItem)


class Script:
    """A client whose watch tells a fixed story."""

    def __init__(self, *events: Any) -> None:
        self._events = events
        self.told = asyncio.Event()

    async def list_watch(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        for event in self._events:
            yield event
        self.told.set()
        await asyncio.Event().wait()


def followed(*events: Any, others: int = 1) -> tuple[dict[str, Any], bool]:
    async def scene() -> tuple[dict[str, Any], bool]:
        table, script = namespaces.table(), Script(*events)
        source = TableSource(
            cast(KubernetesClient, script),
            "/api/v1/namespaces",
            NamespaceItem,
            table,
            row_of=lambda one: None if one.metadata.name == "hidden" else one.row(),
            key_of=lambda one: one.metadata.name,
            waits_for=Countdown(others),
        )
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(source.run(asyncio.Event()))
            await script.told.wait()
            task.cancel()
        return {row.name: dict(row.labels) for row in table}, table.synced.is_set()

    return asyncio.run(scene())


def test_changes_and_farewells_follow_the_list() -> None:
    rows, synced = followed(
        Synced([item("a"), item("b")]),
        Changed(item("c", x="1")),
        Gone(item("a")),
        Changed(item("b", y="2")),
    )
    assert rows == {"b": {"y": "2"}, "c": {"x": "1"}}
    assert synced


def test_a_second_list_removes_what_it_does_not_name() -> None:
    rows, _ = followed(Synced([item("a"), item("b")]), Synced([item("b"), item("d")]))
    assert set(rows) == {"b", "d"}


def test_an_object_without_a_row_has_none_and_loses_it() -> None:
    rows, _ = followed(Synced([item("hidden"), item("a")]), Changed(item("hidden")))
    assert set(rows) == {"a"}


def test_a_table_of_several_sources_is_synced_by_the_last() -> None:
    assert followed(Synced([item("a")]), others=2)[1] is False
