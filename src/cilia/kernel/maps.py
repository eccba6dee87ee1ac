"""Maps: rows by key, and whole batches as numpy arrays.

A batch is two arrays of equal length, keys and values, of the map's dtypes.
What a caller gives as one key or value may be whatever numpy makes a cell of
that dtype from: a number, a tuple, a void scalar, or the bytes themselves.

Source:
    Linux Documentation/bpf/maps.rst; kernel/bpf/syscall.c for the batch calls.
"""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cilia.kernel import libbpf
from cilia.kernel.btf import DType
from cilia.kernel.errors import MapFullError
from cilia.kernel.libbpf import bpf, check, ffi

ANY, NO_EXIST, EXIST = 0, 1, 2
NO_PREALLOC = 1
_FULL = (errno.ENOSPC, errno.E2BIG)


class MapKind(IntEnum):
    """enum bpf_map_type, as far as we use it."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    RINGBUF = 27


PER_CPU = (MapKind.PERCPU_HASH, MapKind.PERCPU_ARRAY, MapKind.LRU_PERCPU_HASH)
OF_MAPS = (MapKind.ARRAY_OF_MAPS, MapKind.HASH_OF_MAPS)
EVICTING = (MapKind.LRU_HASH, MapKind.LRU_PERCPU_HASH)
ARRAYS = (MapKind.ARRAY, MapKind.PERCPU_ARRAY, MapKind.ARRAY_OF_MAPS)


def possible_cpus() -> int:
    """How many CPUs a per-CPU map has room for: all that could ever come up."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(ranges.replace(",", "-").split("-")[-1]) + 1


class Map:
    """An open map. Closes its file descriptor when it goes."""

    def __init__(self, fd: int, key: DType | None = None, value: DType | None = None) -> None:
        """Takes over `fd`; asks the kernel for kind, sizes and name.

        Args:
            fd: A map's file descriptor, which is ours from now on.
            key: dtype of a key; opaque bytes when not given.
            value: dtype of a value, of one CPU's where the map has one for each.

        Raises:
            ValueError: A dtype is not as large as the map's key or value.
        """
        self.fd = fd
        self.refused = 0
        """Rows that found no room since it was opened."""
        self.operations: Counter[tuple[str, bool]] = Counter()
        """Rows updated and deleted by this process, by (operation, whether it was done)."""
        found = map_facts(fd)
        self.kind: MapKind = found["kind"]
        self.name: str = found["name"]
        self.id: int = found["id"]
        self.max_entries: int = found["max_entries"]
        self.cpus = possible_cpus() if self.kind in PER_CPU else 0
        self.key: np.dtype[Any] = self._layout("key", key, found["key_size"])
        self.value: np.dtype[Any] = self._layout("value", value, found["value_size"])
        if value is None and self.kind in OF_MAPS:
            self.value = np.dtype("<u4")  # written as a file descriptor, read as an id

    def _layout(self, part: str, given: DType | None, size: int) -> DType:
        if given is None:
            return np.dtype(f"V{size}") if size else np.dtype("V1")
        if given.itemsize != size:
            raise ValueError(
                f"map {self.name}: a {part} has {size} bytes, its layout {given.itemsize}"
            )
        return given

    @classmethod
    def create(
        cls, kind: MapKind, name: str, key: DType, value: DType, max_entries: int, flags: int = 0
    ) -> "Map":
        """A new map; LPM tries need `flags=NO_PREALLOC`."""
        options = ffi.new("struct bpf_map_create_opts *")
        options.sz, options.map_flags = ffi.sizeof(options[0]), flags
        sizes = (0, 0) if kind == MapKind.RINGBUF else (key.itemsize, value.itemsize)
        fd = bpf.bpf_map_create(int(kind), name.encode()[:15], *sizes, max_entries, options)
        check(fd, "create", f"map {name}")
        return cls(fd, *((None, None) if kind == MapKind.RINGBUF else (key, value)))

    @classmethod
    def open(cls, path: Path, key: DType | None = None, value: DType | None = None) -> "Map":
        """A pinned map.

        Raises:
            NotFoundError: Nothing is pinned there.
        """
        return cls(check(bpf.bpf_obj_get(bytes(path)), "open", f"pinned map {path}"), key, value)

    def pin(self, path: Path) -> None:
        """Keeps the map alive under `path` on a bpf file system."""
        check(bpf.bpf_obj_pin(self.fd, bytes(path)), "pin", f"map {self.name} at {path}")

    def close(self) -> None:
        """Lets go of the file descriptor; a pinned or used map lives on."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()

    def __enter__(self) -> "Map":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Map {self.name} {self.kind.name} fd={self.fd}>"

    def lookup(self, key: ArrayLike) -> Any:
        """The value under `key`, or None; shape (cpus,) in a per-CPU map.

        A structured value comes as a 0-d array's scalar (`row["flags"]`), a plain
        one as a numpy number.
        """
        raw = np.zeros(self.cpus * self._stride if self.cpus else self.value.itemsize, "u1")
        result = bpf.bpf_map_lookup_elem(
            self.fd, ffi.from_buffer(self._cell(self.key, key)), ffi.from_buffer(raw)
        )
        if result == -errno.ENOENT:
            return None
        check(result, "look up in", f"map {self.name}")
        values = self._values(raw, 1)[0]
        return values.copy() if isinstance(values, np.void | np.ndarray) else values

    def lookup_many(self, keys: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Which of these keys are there, and their values; both shape (n,), zeros where not.

        One system call a key; for all rows of a map, `entries` is faster.
        """
        rows = np.ascontiguousarray(keys, self.key)
        values = np.zeros(len(rows), self.value)
        found = np.zeros(len(rows), bool)
        key_size, value_size = self.key.itemsize, self.value.itemsize
        key_at, value_at = ffi.from_buffer("char[]", rows), ffi.from_buffer("char[]", values)
        for at in range(len(rows)):
            result = bpf.bpf_map_lookup_elem(
                self.fd, key_at + at * key_size, value_at + at * value_size
            )
            if result != -errno.ENOENT:
                check(result, "look up in", f"map {self.name}")
                found[at] = True
        return found, values

    def update(self, key: ArrayLike, value: ArrayLike, flags: int = ANY) -> None:
        """Writes one row; a per-CPU map takes one value for all CPUs, or one for each.

        Raises:
            MapFullError: There is no room.
            ExistsError: `flags` is NO_EXIST and the row is there.
        """
        if self.cpus:
            cells = np.zeros((self.cpus, self._stride), "u1")
            values = np.broadcast_to(np.asarray(value, self.value), (self.cpus,))
            flat = np.ascontiguousarray(values).view("u1").reshape(self.cpus, -1)
            cells[:, : self.value.itemsize] = flat
            raw = cells.tobytes()
        else:
            raw = self._cell(self.value, value)
        result = bpf.bpf_map_update_elem(self.fd, self._cell(self.key, key), raw, flags)
        self.operations["update", result == 0] += 1
        if -result in _FULL and self.kind not in ARRAYS:
            self.refused += 1
            raise MapFullError(self.name, self.max_entries)
        check(result, "update", f"map {self.name}")

    def delete(self, key: ArrayLike) -> bool:
        """Removes one row; False when there was none."""
        result = bpf.bpf_map_delete_elem(self.fd, self._cell(self.key, key))
        if result == -errno.ENOENT:
            return False
        self.operations["delete", result == 0] += 1
        check(result, "delete from", f"map {self.name}")
        return True

    def entries(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """All rows: keys of shape (n,) and values of shape (n,), or (n, cpus).

        A snapshot of nothing: rows that programs write meanwhile may be in it or not.
        """
        # Joined as bytes: numpy would turn network-order columns into host order.
        key_bytes, value_bytes = bytearray(), bytearray()
        for keys, values in self._chunks():
            key_bytes += keys
            value_bytes += values
        rows = len(key_bytes) // self.key.itemsize
        raw = np.frombuffer(value_bytes, "u1")
        return np.frombuffer(key_bytes, self.key, count=rows), self._values(raw, rows)

    def batches(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """All rows as `entries` gives them, some thousands at a time, for maps that are large.

        Programs add and remove rows between two batches.
        """
        for keys, values in self._chunks():
            rows = len(keys) // self.key.itemsize
            if rows:
                raw = np.frombuffer(values, "u1")
                yield np.frombuffer(keys, self.key, count=rows), self._values(raw, rows)

    def _chunks(self) -> Iterator[tuple[memoryview, memoryview]]:
        """Keys and values as the kernel lays them out, a batch at a time."""
        chunk, first, more = min(max(self.max_entries, 1), 16384), True, True
        width = self._stride * self.cpus or self.value.itemsize
        cursor = bytearray(max(self.key.itemsize, 8))
        while more:
            key_room, value_room = (bytearray(chunk * size) for size in (self.key.itemsize, width))
            count, following = ffi.new("__u32 *", chunk), bytearray(len(cursor))
            begin = ffi.NULL if first else ffi.from_buffer(cursor)
            places = [ffi.from_buffer(room) for room in (following, key_room, value_room)]
            result = bpf.bpf_map_lookup_batch(self.fd, begin, *places, count, ffi.NULL)
            if result == -errno.ENOSPC and chunk < 1 << 22:
                chunk *= 4  # one bucket of the hash holds more than a chunk
                continue
            if result != -errno.ENOENT:
                check(result, "read", f"map {self.name}")
            read = int(count[0])
            yield (
                memoryview(key_room)[: read * self.key.itemsize],
                memoryview(value_room)[: read * width],
            )
            cursor, first, more = following, False, result == 0

    def keys(self) -> NDArray[Any]:
        """All keys, shape (n,)."""
        return self.entries()[0]

    def count(self) -> int:
        """How many rows there are; every row of an array counts."""
        if self.kind in ARRAYS:
            return self.max_entries
        # A chunk at a time: a large map would take tens of megabytes as a whole.
        return sum(len(keys) // self.key.itemsize for keys, _ in self._chunks())

    def put(self, keys: ArrayLike, values: ArrayLike, flags: int = ANY) -> int:
        """Writes many rows with few system calls, in order; how many.

        Raises:
            MapFullError: No room; `.written` of them are in.
        """
        key_rows = np.ascontiguousarray(keys, self.key)
        value_rows = np.ascontiguousarray(values, self.value)
        if self.cpus or len(key_rows) != len(value_rows):
            raise ValueError(f"map {self.name}: {len(key_rows)} keys, {len(value_rows)} values")
        options = ffi.new("struct bpf_map_batch_opts *")
        options.sz, options.elem_flags = ffi.sizeof(options[0]), flags
        if not len(key_rows):
            return 0
        count = ffi.new("__u32 *", len(key_rows))
        result = bpf.bpf_map_update_batch(
            self.fd, ffi.from_buffer(key_rows), ffi.from_buffer(value_rows), count, options
        )
        written = int(count[0]) if result else len(key_rows)
        self.operations["update", True] += written
        if result:
            self.operations["update", False] += len(key_rows) - written
        if -result in _FULL:
            self.refused += len(key_rows) - int(count[0])
            raise MapFullError(self.name, self.max_entries, int(count[0]), len(key_rows))
        check(result, "update", f"map {self.name}, row {count[0]} of {len(key_rows)}")
        return len(key_rows)

    def drop(self, keys: ArrayLike) -> int:
        """Removes many rows; how many there were. A missing one is no error."""
        rows = np.ascontiguousarray(keys, self.key)
        at, gone = 0, 0
        while at < len(rows):
            left = len(rows) - at
            count = ffi.new("__u32 *", left)
            result = bpf.bpf_map_delete_batch(self.fd, ffi.from_buffer(rows[at:]), count, ffi.NULL)
            self.operations["delete", True] += left if result == 0 else int(count[0])
            if result == 0:
                return gone + left
            if result != -errno.ENOENT:
                check(result, "delete from", f"map {self.name}")
            gone += int(count[0])
            at += int(count[0]) + 1
        return gone

    def clear(self) -> int:
        """Removes every row of a map that is not an array; how many there were."""
        return self.drop(self.keys())

    @property
    def _stride(self) -> int:
        return (self.value.itemsize + 7) // 8 * 8

    def _values(self, raw: NDArray[np.uint8], rows: int) -> NDArray[Any]:
        if not self.cpus:
            return raw.view(self.value)[:rows]
        cells = raw.reshape(rows, self.cpus, self._stride)[:, :, : self.value.itemsize]
        return np.ascontiguousarray(cells).view(self.value)[:, :, 0]

    @staticmethod
    def _cell(layout: DType, given: ArrayLike) -> bytes:
        if isinstance(given, bytes) and len(given) == layout.itemsize:
            return given
        if isinstance(given, np.void) and given.dtype == layout:
            return given.tobytes()
        cell = np.zeros((), layout)  # zeroed: padding is part of a key
        cell[()] = given
        return cell.tobytes()


def map_facts(fd: int) -> dict[str, Any]:
    """What the kernel knows of a map: kind, id, name, sizes, max_entries."""
    found = ffi.new("struct bpf_map_info *")
    size = ffi.new("__u32 *", ffi.sizeof(found[0]))
    check(bpf.bpf_obj_get_info_by_fd(fd, found, size), "ask about", f"map fd {fd}")
    return {
        "kind": MapKind(found.type),
        "id": int(found.id),
        "name": libbpf.text(found.name),
        "key_size": int(found.key_size),
        "value_size": int(found.value_size),
        "max_entries": int(found.max_entries),
    }
