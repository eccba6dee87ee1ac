"""The kernel's ipcache: after any sequence of writes it is what a simple model says."""

import asyncio
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.datapath import layout
from cilia.datapath.maps.ipcache import IpcacheMap, encode_keys
from cilia.ipcache.claims import address_key
from cilia.ipcache.sync import KernelIpcache
from cilia.kernel.maps import Map
from cilia.model.prefixes import parse_prefixes, prefix_key
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


rows_step = st.tuples(
    st.just("rows"),
    st.dictionaries(st.sampled_from(PREFIXES), st.integers(1, 3), max_size=4),
)
rules_step = st.tuples(
    st.just("rules"),
    st.dictionaries(st.sampled_from(PREFIXES), st.integers(1, 3), max_size=4),
)


@given(st.lists(st.one_of(rows_step, rules_step), max_size=12), st.booleans())
def test_the_map_is_rows_over_rule_prefixes(
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
            for kind, wanted in [*steps, ("rules", {}), ("rows", {})]:
                if kind == "rows":
                    rows = wanted
                    table.replace([IpcacheRow(full(keys_of[p]), n) for p, n in rows.items()])
                    changes = watch.take().changes
                    await kernel.update([c.new for c in changes if c.new is not None])
                    await kernel.delete([c.old for c in changes if c.new is None and c.old])
                else:
                    rules = wanted
                    kernel.assign_prefixes(
                        parse_prefixes(list(rules)),
                        np.array([100 + n for n in rules.values()], np.uint32),
                        np.array(list(rules.values()), np.uint32),
                    )
                expected = {full(keys_of[p]): (100 + n, n) for p, n in rules.items()}
                expected |= {full(keys_of[p]): (n, 0) for p, n in rows.items()}
                known = content(target)
                known.pop(address_key("9.9.9.9"), None)
                assert known == expected
            table.mark_synced()
            await kernel.prune(table.snapshot())
            assert address_key("9.9.9.9") not in content(target)

    asyncio.run(scene())
