"""How full real maps are, what they take, and what was done to them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.metrics_core import Metric

from cilia.agent.metrics.looks import map_operations
from cilia.agent.metrics.sampling import MapSampler, memory_bytes
from cilia.datapath import loader
from cilia.kernel.errors import MapFullError
from cilia.kernel.maps import NO_PREALLOC, Map, MapKind
from cilia.kernel.objects import BpfObject
from cilia.model.site import NodeSite
from cilia.runtime.clock import SystemClock

NUMBER = np.dtype("<u4")
PREFIX = np.dtype([("prefixlen", "<u4"), ("address", ">u4")])


def values(metrics: list[Metric], name: str) -> dict[tuple[str, ...], float]:
    """Values of a family by labels, whatever has several samples."""
    (found,) = [metric for metric in metrics if metric.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in found.samples}


@pytest.fixture
def maps() -> Iterator[dict[str, Map]]:
    """One of each kind that fills, with room for ten, and one that does not."""
    made = {
        "hash": Map.create(MapKind.HASH, "hash", NUMBER, NUMBER, 10),
        "trie": Map.create(MapKind.LPM_TRIE, "trie", PREFIX, NUMBER, 10, NO_PREALLOC),
        "lru": Map.create(MapKind.LRU_HASH, "lru", NUMBER, NUMBER, 10),
        "array": Map.create(MapKind.ARRAY, "array", NUMBER, NUMBER, 10),
    }
    yield made
    for one in made.values():
        one.close()


@pytest.fixture
def site(name: str, pins: Path, tmp_path: Path) -> NodeSite:
    """A node with one event ring."""
    folder = loader.pins(NodeSite(name, None, pins, tmp_path, tmp_path, tmp_path), "rings")
    folder.mkdir()
    nothing = np.dtype("V1")
    with Map.create(MapKind.RINGBUF, "ring_0", nothing, nothing, 4096) as ring:
        ring.pin(folder / "0")
    return NodeSite(name, None, pins, tmp_path, tmp_path, tmp_path)


def test_pressure_is_the_share_of_rows_in_use(site: NodeSite, maps: dict[str, Map]) -> None:
    maps["hash"].put(np.arange(9, dtype=NUMBER), np.arange(9, dtype=NUMBER))
    maps["trie"].update((32, 1), 1)
    sampler = MapSampler(site, maps, {}, SystemClock())
    assert list(sampler.collect()) == []
    sampler.sample = sampler.look()
    found = list(sampler.collect())
    wanted = {("hash",): 0.9, ("trie",): 0.1, ("lru",): 0, ("array",): 0}
    assert values(found, "cilium_bpf_map_pressure") == wanted
    assert values(found, "cilium_bpf_map_capacity") == dict.fromkeys(wanted, 10)
    assert values(found, "cilium_bpf_maps") == {(): 5}
    assert values(found, "cilium_bpf_maps_virtual_memory_max_bytes")[()] > 4096


def test_what_is_seen_follows_the_map(site: NodeSite, maps: dict[str, Map]) -> None:
    keys = np.arange(10, dtype=NUMBER)
    maps["hash"].put(keys, keys)
    sampler = MapSampler(site, maps, {}, SystemClock())
    shares = []
    for _ in range(2):
        sampler.sample = sampler.look()
        shares.append(values(list(sampler.collect()), "cilium_bpf_map_pressure")[("hash",)])
        maps["hash"].drop(keys[:5])
    assert shares == [1.0, 0.5]


def test_programs_take_memory_too(site: NodeSite, probe: BpfObject) -> None:
    probe.load(only=probe.program_names()[0])
    sample = MapSampler(site, {}, probe.programs, SystemClock()).look()
    assert sample.programs == 1
    assert sample.program_bytes >= 4096
    assert memory_bytes(0) == 0, "what is no map and no program takes nothing"


def test_operations_count_rows(maps: dict[str, Map]) -> None:
    keys = np.arange(9, dtype=NUMBER)
    one = maps["hash"]
    one.put(keys[:7], keys[:7])
    one.update(7, 7)
    one.delete(0)
    one.delete(99)
    one.drop(keys[:3])
    with pytest.raises(MapFullError):
        one.put(np.arange(100, 120, dtype=NUMBER), np.arange(20, dtype=NUMBER))
    found = list(map_operations(maps))
    counted = values(found, "cilium_bpf_map_ops")
    # 20 rows for the room that 5 rows leave; the kernel may keep a few spare ones for each CPU.
    written = one.count() - 5
    assert written >= 5
    assert counted == {
        ("hash", "update", "success"): 8 + written,
        ("hash", "update", "fail"): 20 - written,
        ("hash", "delete", "success"): 3,
    }
    assert values(found, "cilium_bpf_map_refused")[("hash",)] == 20 - written
