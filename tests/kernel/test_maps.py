"""Maps against a dict: rows, batches, limits, every kind."""

import random
from pathlib import Path

import numpy as np
import pytest

from cilia.kernel.errors import ExistsError, MapFullError, NotFoundError
from cilia.kernel.maps import NO_EXIST, NO_PREALLOC, Map, MapKind

KEY = np.dtype([("address", "V16"), ("port", ">u2"), ("pad", "<u2")])
VALUE = np.dtype([("packets", "<u8"), ("name", ">u4"), ("pad", "<u4")])
LPM = np.dtype([("prefixlen", "<u4"), ("address", ">u4")])


def make(kind: MapKind, *, key: np.dtype = KEY, size: int = 100) -> Map:  # type: ignore[type-arg]  # any layout will do
    flags = NO_PREALLOC if kind in (MapKind.LPM_TRIE, MapKind.HASH) else 0
    return Map.create(kind, "test", key, VALUE, size, flags)


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]  # any layout will do
    keys, values = np.zeros(count, KEY), np.zeros(count, VALUE)
    keys["port"] = np.arange(count)
    keys["address"] = np.frombuffer(random.Random(count).randbytes(16 * count), "V16")
    values["packets"], values["name"] = np.arange(count) * 10**12, np.arange(count)
    return keys, values


@pytest.mark.parametrize("kind", [MapKind.HASH, MapKind.LRU_HASH])
def test_a_batch_comes_back_as_it_went_in(kind: MapKind) -> None:
    keys, values = rows(5000)
    with make(kind, size=20000) as one:
        assert one.put(keys, values) == 5000
        found_keys, found_values = one.entries()
        assert found_keys.dtype == KEY
        assert found_values.dtype == VALUE
        order, wanted = np.argsort(found_keys["port"]), np.argsort(keys["port"])
        assert found_keys[order].tobytes() == keys[wanted].tobytes()
        assert found_values[order].tobytes() == values[wanted].tobytes()
        assert one.drop(keys[::2]) == 2500
        assert one.count() == 2500
        assert one.drop(keys) == 2500
        assert one.count() == 0


def test_single_rows() -> None:
    with make(MapKind.HASH) as one:
        keys, values = rows(3)
        one.update(keys[0], values[1])
        assert one.lookup(keys[0]) == values[1]
        assert one.lookup(keys[0])["name"] == 1
        assert one.lookup(keys[2]) is None
        one.update((bytes(16), 80, 0), (7, 8, 0))
        assert one.lookup((bytes(16), 80, 0))["packets"] == 7
        with pytest.raises(ExistsError):
            one.update(keys[0], values[0], NO_EXIST)
        assert one.delete(keys[0])
        assert not one.delete(keys[0])


def test_some_rows_of_many() -> None:
    keys, values = rows(20)
    with make(MapKind.HASH) as one:
        one.put(keys[::2], values[::2])
        there, found = one.lookup_many(keys)
        assert there.tolist() == [True, False] * 10
        assert found[there].tobytes() == values[::2].tobytes()
        assert not found[~there]["packets"].any()
        assert one.lookup_many(keys[:0])[1].shape == (0,)


@pytest.mark.parametrize("kind", [MapKind.HASH, MapKind.LPM_TRIE])
def test_a_full_map_says_its_name_its_size_and_what_went_in(kind: MapKind) -> None:
    keys, values = rows(20)
    if kind is MapKind.LPM_TRIE:
        keys = np.zeros(20, LPM)
        keys["prefixlen"], keys["address"] = 32, np.arange(20)
    with make(kind, key=keys.dtype, size=16) as one:
        with pytest.raises(MapFullError) as caught:
            one.put(keys, values)
        assert (caught.value.name, caught.value.max_entries) == ("test", 16)
        assert caught.value.written == 16
        assert "16 of 20 rows" in str(caught.value)
        assert "raise test in map-sizes" in str(caught.value)
        assert one.count() == 16
        with pytest.raises(MapFullError):
            one.update(keys[17], values[0])


def test_the_longest_prefix_wins() -> None:
    with make(MapKind.LPM_TRIE, key=LPM) as one:
        one.put(
            np.array([(8, 0x0A000000), (24, 0x0A000100), (0, 0)], LPM),
            np.array([(8, 0, 0), (24, 0, 0), (0, 0, 0)], VALUE),
        )
        found = [one.lookup((32, address))["packets"] for address in (0x0A000105, 0x0A010101, 1)]
        assert found == [24, 8, 0]


def test_dropping_what_is_not_there_is_no_error() -> None:
    keys, values = rows(100)
    with make(MapKind.HASH) as one:
        one.put(keys[::3], values[::3])
        assert one.drop(keys) == 34
        assert one.drop(keys) == 0
        assert one.drop(keys[:0]) == 0
        assert one.put(keys[:0], values[:0]) == 0


def test_a_row_for_each_cpu() -> None:
    value, key = np.dtype([("packets", "<u4")]), np.dtype("<u4")
    with Map.create(MapKind.PERCPU_ARRAY, "cpus", key, value, 4) as one:
        one.update(2, (5,))
        assert one.lookup(2)["packets"].tolist() == [5] * one.cpus
        one.update(3, np.array([(n,) for n in range(one.cpus)], value))
        keys, values = one.entries()
        assert values.shape == (4, one.cpus)
        assert values["packets"][3].tolist() == list(range(one.cpus))
        assert keys.tolist() == [0, 1, 2, 3]


def test_a_layout_of_another_size_is_refused(pins: Path) -> None:
    with make(MapKind.HASH) as one:
        one.pin(pins / "one")
    with pytest.raises(ValueError, match="map test: a value has 16 bytes, its layout 4"):
        Map.open(pins / "one", KEY, np.dtype("<u4"))
    with Map.open(pins / "one") as raw:
        assert raw.key == np.dtype("V20")
    with pytest.raises(NotFoundError, match="open pinned map"):
        Map.open(pins / "two")


def test_keys_and_values_must_go_together() -> None:
    keys, values = rows(3)
    with make(MapKind.HASH) as one, pytest.raises(ValueError, match="3 keys, 2 values"):
        one.put(keys, values[:2])
