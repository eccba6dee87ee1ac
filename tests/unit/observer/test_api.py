"""The observer's own API: what it answers, and to whom it says no."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cilia.hubble.ended import CONNECTION, EndedConnections
from cilia.hubble.parties import Party
from cilia.hubble.totals import Totals
from cilia.observer.account import EventCounts
from cilia.observer.api import ObserverApi
from cilia.observer.harvest import HarvestCounts
from cilia.wire.http10 import decode_answer, encode_request
from cilia.wire.unixhttp import UnixServer
from unit.hubble.made_records import TIE, XWING, KnownNames

PARTIES = [
    Party(7, 300, "10.0.1.5", "default", "xwing"),
    Party(9, 302, "10.0.1.7", "empire", "tiefighter"),
]


def api() -> ObserverApi:
    """An observer that has seen one connection end, and two pairs of parties."""
    totals, ended = Totals(), EndedConnections()
    numbers = np.array([0, 1], np.uint32), np.array([1, 0], np.uint32)
    moved = np.array([[5, 5, 500, 100], [9, 9, 300, 100]], np.uint64)
    totals.add(numbers, np.zeros((2, 2), np.uint32), moved, np.ones(2, bool))
    row = np.zeros(2, CONNECTION)
    row["source"], row["destination"] = [XWING, TIE], [TIE, XWING]
    row["destination_party"], row["source_party"] = [1, 0], [0, 1]
    row["protocol"], row["bytes"], row["last_seen"] = 6, [[5, 6], [7, 8]], [[9, 0], [0, 10]]
    ended.add(row)
    harvester: Any = SimpleNamespace(totals=totals, ended=ended, counts=HarvestCounts(packets=3))
    store: Any = Sized(parties=SimpleNamespace(rows=PARTIES), total=12, overrun=2)
    account: Any = SimpleNamespace(counts=lambda: EventCounts((9, 1), (6, 1), (1, 0), (2, 0)))
    return ObserverApi(account, store, harvester, KnownNames(), lambda: 4)


class Sized(SimpleNamespace):
    """Something with a length."""

    def __len__(self) -> int:
        return 10


def ask(folder: Path, path: str, **query: str) -> tuple[int, Any]:
    """One answer of that observer."""

    async def scene() -> bytes:
        server = UnixServer(folder / "s", api().routes())
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.run(ready := asyncio.Event()))
            await ready.wait()
            reader, writer = await asyncio.open_unix_connection(str(folder / "s"))
            writer.write(encode_request("GET", path, query, None))
            answer = await reader.read()
            writer.close()
            serving.cancel()
        return answer

    status, body = decode_answer(asyncio.run(scene()))
    return status, json.loads(body)


def test_the_account_adds_up(tmp_path: Path) -> None:
    status, found = ask(tmp_path, "/v1/account")
    assert status == 200
    events = found["events"]
    assert events["sent"] == events["seen"] + events["waiting"] + events["lost"] == 10
    assert events["missing"] == 0
    assert events["by-cpu"]["lost"] == [2, 0]
    assert found["flows"] == {"stored": 10, "seen": 12}
    assert found["slow-readers"] == {"flows": 2, "monitor": 4}
    assert found["connections"]["packets"] == 3


@pytest.mark.parametrize(("by", "first"), [("bytes", "xwing"), ("packets", "tiefighter")])
def test_who_moved_most_comes_first(tmp_path: Path, by: str, first: str) -> None:
    _, found = ask(tmp_path, "/v1/totals", by=by, number="1")
    assert [one["source"]["pod"] for one in found] == [first]


def test_what_ended_last_comes_first(tmp_path: Path) -> None:
    _, found = ask(tmp_path, "/v1/connections", state="ended")
    assert [one["source"]["ip"] for one in found] == ["10.0.1.7", "10.0.1.5"]
    assert found[0]["bytes"] == [7, 8]
    assert found[0]["state"] == "expired"
    assert found[1]["destination"]["pod"] == "tiefighter"


@pytest.mark.parametrize(
    ("path", "query", "wrong"),
    [
        ("/v1/totals", {"by": "flows"}, "by is 'flows'"),
        ("/v1/connections", {"state": "dead"}, "state is 'dead'"),
        ("/v1/connections", {"number": "-1"}, "number is '-1'"),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, path: str, query: dict[str, str], wrong: str
) -> None:
    status, found = ask(tmp_path, path, **query)
    assert status == 400
    assert wrong in found["error"]
