"""The kernel's ipcache: after any sequence of writes it is what a simple model says."""

import asyncio
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.datapath import layout
from cilia.datapath.maps.ipcache import IpcacheMap, encode_keys
from cilia.ipcache.claims import address_key
from cilia.ipcache.sync import KernelIpcache, Numbers
from cilia.kernel.maps import Map
from cilia.model.errors import MapFull
from cilia.model.prefixes import PrefixKeys, parse_prefixes, prefix_key
from cilia.state import ipcache
from cilia.state.ipcache import IpcacheRow

from ..fake_map import FakeMap  # noqa: TID252


def fake_map() -> FakeMap:
    return FakeMap(*layout.map_types("ipcache"))


def typed(target: FakeMap) -> IpcacheMap:
    return IpcacheMap({"ipcache": cast(Map, target)})


PREFIXES = ["0.0.0.0/0", "::/0", "10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/8", "fd00::/16"]
keys_of = dict(zip(PREFIXES, parse_prefixes(PREFIXES).tolist(), strict=True))


def full(key: bytes) -> bytes:
    return key.ljust(17, b"\0")


def content(target: FakeMap) -> dict[bytes, tuple[int, int]]:
    return {
        prefix_key(one.prefix): (one.identity, one.policy_class) for one in typed(target).entries()
    }


wish = st.dictionaries(st.sampled_from(PREFIXES), st.integers(1, 3), max_size=4)
steps_of = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), wish),
        st.tuples(st.just("assign"), wish),
        st.tuples(st.just("write"), wish),
        st.tuples(st.just("remove"), wish),
    ),
    max_size=12,
)
WORLD = {"0.0.0.0/0", "::/0"}


def columns(rules: dict[str, int]) -> tuple[PrefixKeys, Numbers, Numbers]:
    classes = np.array(list(rules.values()), np.uint32)
    return parse_prefixes(list(rules)), classes + 100, classes


def row(prefix: str, identity: int) -> IpcacheRow:
    return IpcacheRow(
        full(keys_of[prefix]), identity, source="world" if prefix in WORLD else "local"
    )


def model(rows: dict[str, int], rules: dict[str, int]) -> dict[bytes, tuple[int, int]]:
    weak = {p: (n, 0) for p, n in rows.items() if p in WORLD}
    strong = {p: (n, 0) for p, n in rows.items() if p not in WORLD}
    told = {p: (100 + n, n) for p, n in rules.items()}
    return {full(keys_of[p]): value for p, value in (weak | told | strong).items()}


@given(steps_of, st.booleans())
def test_the_map_is_rows_over_rules_over_the_world(
    steps: list[tuple[str, dict[str, int]]], stale: bool
) -> None:
    async def scene() -> None:
        target, table = fake_map(), ipcache.table()
        if stale:
            junk = encode_keys(parse_prefixes(["9.9.9.9/32"]))
            target.put(junk, np.zeros(1, target.value))
        kernel = KernelIpcache(typed(target), table)
        rows: dict[str, int] = {}
        rules: dict[str, int] = {}
        with table.watch() as watch:
            for kind, wanted in [*steps, ("assign", {}), ("rows", {})]:
                if kind == "rows":
                    rows = wanted
                    table.replace([row(p, n) for p, n in rows.items()])
                    changes = watch.take().changes
                    await kernel.update([c.new for c in changes if c.new is not None])
                    await kernel.delete([c.old for c in changes if c.new is None and c.old])
                elif kind == "assign":
                    rules = dict(wanted)
                    kernel.assign_prefixes(*columns(rules))
                elif kind == "write":
                    rules |= wanted
                    kernel.write_prefixes(*columns(wanted))
                else:
                    known = {p: n for p, n in wanted.items() if p in rules}
                    rules = {p: n for p, n in rules.items() if p not in known}
                    kernel.remove_prefixes(columns(known)[0])
                held = content(target)
                held.pop(address_key("9.9.9.9"), None)
                assert held == model(rows, rules)
            table.mark_synced()
            await kernel.prune(table.snapshot())
            assert address_key("9.9.9.9") not in content(target)

    asyncio.run(scene())


@given(wish, wish, st.integers(0, 6))
def test_a_write_that_finds_no_room_leaves_all_as_it_was(
    before: dict[str, int], wanted: dict[str, int], room: int
) -> None:
    async def scene() -> None:
        target, table = fake_map(), ipcache.table()
        table.replace([row(prefix, 1) for prefix in WORLD])
        kernel = KernelIpcache(typed(target), table)
        await kernel.update(table.snapshot())
        kernel.assign_prefixes(*columns(before))
        held = content(target)
        target.limit = len(held) + room
        try:
            kernel.write_prefixes(*columns(wanted))
        except MapFull:
            assert content(target) == held
            assert len(model(dict.fromkeys(WORLD, 1), before | wanted)) > target.limit
        else:
            assert content(target) == model(dict.fromkeys(WORLD, 1), before | wanted)
        target.limit = 1 << 30
        kernel.assign_prefixes(*columns(wanted))
        assert content(target) == model(dict.fromkeys(WORLD, 1), wanted)

    asyncio.run(scene())
