"""100,000 prefixes into the ipcache map: one batch, against one system call a prefix."""

import time
from collections.abc import Callable
from ipaddress import ip_network

import numpy as np

from bench.report import save, summary
from cilia.datapath import layout
from cilia.datapath.maps.ipcache import IpcacheEntry, IpcacheMap, encode
from cilia.kernel.maps import Map, MapKind
from cilia.model.prefixes import parse_prefixes

PREFIXES = 100_000
ROUNDS = 5
NO_PREALLOC = 1


def fresh() -> Map:
    """An empty ipcache."""
    key, value = layout.map_types("ipcache")
    return Map.create(MapKind.LPM_TRIE, "ipcache", key, value, 512_000, NO_PREALLOC)


def main() -> None:
    """Interleaved rounds; seconds for all prefixes."""
    texts = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32" for i in range(PREFIXES)]
    keys = parse_prefixes(texts)
    identities = np.arange(PREFIXES, dtype="<u4")
    entries = [IpcacheEntry(ip_network(text), 1) for text in texts]
    raw = list(zip(*encode(entries), strict=True))

    def one_by_one(ipcache: Map) -> None:
        for key, value in raw:
            ipcache.update(key, value)

    ways: dict[str, Callable[[Map], None]] = {
        "one call a prefix": one_by_one,
        "a batch of values": lambda one: IpcacheMap({"ipcache": one}).write(entries),
        "a batch of columns": lambda one: IpcacheMap({"ipcache": one}).write_columns(
            keys, identities
        ),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, write in ways.items():
            with fresh() as ipcache:
                began = time.perf_counter()
                write(ipcache)
                found[name].append(time.perf_counter() - began)
                assert ipcache.count() == PREFIXES
    base = summary(found["one call a prefix"])["median"]
    rows: list[dict[str, object]] = []
    for name, times in found.items():
        result = summary(times)
        rows.append({"what": name, "seconds": result, "ratio": base / result["median"]})
        print(
            f"{PREFIXES} prefixes, {name:<18} {result['median']:.3f} s   "
            f"{base / result['median']:.1f} × as fast"
        )
    save("ipcache", "python -m bench ipcache", rows)
