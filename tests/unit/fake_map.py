"""A kernel map in memory, with the dtypes of the real one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.model.errors import MapFull


class FakeMap:
    """Rows by the bytes of their keys; can be full."""

    def __init__(self, key: Any, value: Any, limit: int = 1 << 30) -> None:
        self.key = np.dtype(key)
        self.value = np.dtype(value)
        self.limit = limit
        self.rows: dict[bytes, bytes] = {}
        self.puts = 0

    def entries(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return (
            np.frombuffer(b"".join(self.rows), self.key),
            np.frombuffer(b"".join(self.rows.values()), self.value),
        )

    @property
    def max_entries(self) -> int:
        return self.limit

    def keys(self) -> NDArray[Any]:
        return self.entries()[0]

    def put(self, keys: Any, values: Any, flags: int = 0) -> int:
        keys, values = (
            np.ascontiguousarray(keys, self.key),
            np.ascontiguousarray(values, self.value),
        )
        assert len(keys) == len(values)
        self.puts += len(keys)
        for key, value in zip(keys, values, strict=True):
            if key.tobytes() not in self.rows and len(self.rows) >= self.limit:
                raise MapFull("update map fake", 28)  # ENOSPC
            self.rows[key.tobytes()] = value.tobytes()
        return len(keys)

    def drop(self, keys: Any) -> int:
        rows = np.ascontiguousarray(keys, self.key)
        return sum(self.rows.pop(key.tobytes(), None) is not None for key in rows)
