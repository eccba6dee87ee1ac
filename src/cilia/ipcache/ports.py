"""What ipcache asks of the datapath; cilia.datapath.maps.ipcache.IpcacheMap is one."""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cilia.model.prefixes import PrefixKeys


class PrefixRows(Protocol):
    """The kernel's ipcache in columns."""

    def write_columns(
        self,
        prefixes: PrefixKeys,
        identities: NDArray[np.uint32],
        classes: NDArray[np.uint32] | int = 0,
        tunnels: ArrayLike = 0,
    ) -> None:
        """Adds or replaces prefixes."""
        ...

    def delete_keys(self, prefixes: PrefixKeys) -> int:
        """Removes prefixes; a missing one is no error."""
        ...

    def columns(self) -> tuple[PrefixKeys, NDArray[np.uint32], NDArray[np.uint32]]:
        """Returns every prefix: keys, identities, classes."""
        ...
