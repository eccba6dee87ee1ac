"""What service asks of the datapath; cilia.datapath.maps.service.ServiceMap is one."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from cilia.datapath.maps.service import ServiceBackend, ServiceFrontend


class ServiceRows(Protocol):
    """Frontends, slots and backends in the kernel."""

    def write(
        self, frontends: Sequence[ServiceFrontend], backends: Sequence[ServiceBackend] = ()
    ) -> None:
        """Writes backends, then slots, then headers."""
        ...

    def delete(self, frontends: Sequence[ServiceFrontend]) -> int:
        """Removes frontends, headers first."""
        ...

    def delete_slots(self, frontends: Sequence[tuple[ServiceFrontend, int]]) -> int:
        """Removes the slots behind a frontend's last one, up to the number given."""
        ...

    def delete_backends(self, ids: Sequence[int]) -> int:
        """Removes backends."""
        ...

    def prune(self, wanted: Sequence[ServiceFrontend]) -> int:
        """Removes all that these frontends do not need."""
        ...

    def backends(self) -> Mapping[int, ServiceBackend]:
        """Returns every backend by its number."""
        ...

    def frontends(self) -> list[ServiceFrontend]:
        """Returns every frontend."""
        ...
