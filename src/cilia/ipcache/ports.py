"""What ipcache asks of the kernel."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class RowMap(Protocol):
    """A map that takes rows in bulk; cilia.kernel.maps.Map is one."""

    key: np.dtype[Any]
    value: np.dtype[Any]

    def entries(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns all keys and values."""
        ...

    def put(self, keys: Any, values: Any, flags: int = 0) -> int:
        """Writes rows."""
        ...

    def drop(self, keys: Any) -> int:
        """Removes rows; one that is missing is no error."""
        ...
