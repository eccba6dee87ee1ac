"""A store to export from, and what was written."""

import json
from pathlib import Path
from typing import Any

from cilia.hubble.export.source import Feed
from cilia.hubble.filters import Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import RECORD, KnownNames, records

NODE = "default/node-1"
Json = Any


class MadeIntake:
    """Rings that gave what a store has seen, and `before` to observers before it."""

    def __init__(self, store: FlowStore, before: int = 0, epoch: str = "rings-1") -> None:
        self.epoch = epoch
        self._store = store
        self._before = before

    def taken(self) -> int:
        return self._before + self._store.total + self._store.lost


def feed_of(capacity: int = 1_000) -> Feed:
    """An empty store, with names."""
    store = FlowStore(RECORD, capacity)
    maker = FlowMaker(store, KnownNames(), NODE, "0")
    return Feed(Scene(store, NODE, flow=maker.flow), maker)


def add(feed: Feed, count: int, **fields: object) -> None:
    """Flows that readers see at once; source ports tell them apart."""
    store = feed.scene.store
    first = store.total
    rows = records(count, **fields)
    rows["source_port"] = [(first + at) % 65_536 for at in range(count)]
    store.add(rows, first)
    store.parties.join(KnownNames())
    store.show(store.total)


def events(text: bytes | Path) -> list[Json]:
    """The lines, each of which must be whole."""
    data = text.read_bytes() if isinstance(text, Path) else text
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def told(text: bytes | Path) -> list[int | str]:
    """Source ports of flows, and `source:number` of losses."""
    found: list[int | str] = []
    for one in events(text):
        if "flow" in one:
            found.append(one["flow"]["l4"]["TCP"].get("source_port", 0))
        else:
            lost = one["lost_events"]
            found.append(f"{lost.get('source', 'unknown')}:{lost.get('num_events_lost', 0)}")
    return found
