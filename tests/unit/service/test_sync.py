"""The service maps: right after any change, whole at every moment, stable over restarts."""

import asyncio
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from cilia.datapath import layout
from cilia.datapath.maps.service import ServiceMap
from cilia.kernel.maps import Map
from cilia.service.sync import KernelServices
from cilia.state.frontends import Backend, Frontend

from ..fake_map import FakeMap  # noqa: TID252


class Kernel:
    """Both maps; checks after each system call that no header counts a missing backend."""

    def __init__(self, slots: int = 1 << 20) -> None:
        self.maps = {
            name: Watched(self, *layout.map_types(name), limit)
            for name, limit in (("service", slots), ("backend", 1 << 20))
        }
        self.rows = ServiceMap(cast("dict[str, Map]", self.maps))

    def check(self) -> None:
        known = self.rows.backends()
        for one in self.rows.frontends():
            assert all(number in known for number in one.backends)

    def content(self) -> dict[tuple[str, int], list[tuple[str, int]]]:
        known = self.rows.backends()
        return {
            (one.address, one.port): [
                (known[number].address, known[number].port) for number in one.backends
            ]
            for one in self.rows.frontends()
        }


class Watched(FakeMap):
    def __init__(self, kernel: Kernel, key: Any, value: Any, limit: int) -> None:
        super().__init__(key, value, limit)
        self.kernel = kernel

    def put(self, keys: Any, values: Any, flags: int = 0) -> int:
        for at in range(len(keys)):  # the kernel writes a batch row by row
            super().put(keys[at : at + 1], values[at : at + 1])
            self.kernel.check()
        return len(keys)

    def drop(self, keys: Any) -> int:
        gone = 0
        for at in range(len(keys)):
            gone += super().drop(keys[at : at + 1])
            self.kernel.check()
        return gone


def frontend(number: int, backends: frozenset[int]) -> Frontend:
    return Frontend(
        f"10.96.0.{number}",
        80,
        "TCP",
        "default",
        f"s{number}",
        "ClusterIP",
        tuple(Backend(f"10.0.1.{n}", 8080, "TCP") for n in sorted(backends)),
    )


wishes = st.dictionaries(
    st.integers(1, 4), st.frozensets(st.integers(1, 5), max_size=4), max_size=4
)


def expected(wish: dict[int, frozenset[int]]) -> dict[tuple[str, int], list[tuple[str, int]]]:
    return {
        (f"10.96.0.{n}", 80): [(f"10.0.1.{b}", 8080) for b in sorted(backends)]
        for n, backends in wish.items()
    }


@given(st.lists(st.tuples(wishes, st.booleans()), max_size=8))
def test_the_maps_follow_and_numbers_survive_restarts(
    steps: list[tuple[dict[int, frozenset[int]], bool]],
) -> None:
    async def scene() -> None:
        kernel = Kernel()
        target = KernelServices(kernel.rows)
        have: dict[int, frozenset[int]] = {}
        for wish, restart in steps:
            if restart:
                before = (kernel.rows.frontends(), kernel.rows.backends())
                target = KernelServices(kernel.rows)
                await target.prune([frontend(n, b) for n, b in have.items()])
                assert (kernel.rows.frontends(), kernel.rows.backends()) == before
            changed = [frontend(n, b) for n, b in wish.items() if have.get(n) != b]
            assert not await target.update(changed)
            await target.delete([frontend(n, have[n]) for n in have.keys() - wish.keys()])
            have = wish
            assert kernel.content() == expected(wish)
            used = {number for one in kernel.rows.frontends() for number in one.backends}
            assert set(kernel.rows.backends()) == used
            assert len(kernel.maps["service"].rows) == sum(len(b) + 1 for b in wish.values())
            reverse = [one.reverse for one in kernel.rows.frontends()]
            assert len(set(reverse)) == len(reverse)
            assert 0 not in reverse

    asyncio.run(scene())


def test_what_does_not_fit_is_named_and_the_rest_works() -> None:
    async def scene() -> None:
        kernel = Kernel(slots=5)
        target = KernelServices(kernel.rows)
        rows = [frontend(n, frozenset({1, 2})) for n in (1, 2)]
        failed = await target.update(rows)
        assert [each.key for each in failed] == [rows[1].key]
        assert kernel.content()["10.96.0.1", 80] == [("10.0.1.1", 8080), ("10.0.1.2", 8080)]
        await target.delete(rows[:1])
        assert not await target.update(rows[1:])
        assert kernel.content() == expected({2: frozenset({1, 2})})

    asyncio.run(scene())
