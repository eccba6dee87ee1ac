"""service and backend: frontends, their slots, and the places that serve.

Order of a change: backends first, then slots, then the header (slot 0, which
says how many slots count), then the slots and backends that nobody needs any more.

Source:
    bpf/lib/service.h.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.datapath import layout
from cilia.kernel.maps import Map


class ServiceFrontend(msgspec.Struct, frozen=True):
    """One frontend as the programs see it."""

    address: str
    port: int
    protocol: int
    reverse: int
    """Number of this frontend, 1 to 65535."""
    backends: tuple[int, ...] = ()
    """Backend ids, one a slot."""
    flags: int = 0
    """Bits of enum service_flag."""
    affinity_s: int = 0
    scope: int = 0


class ServiceBackend(msgspec.Struct, frozen=True):
    """One place that can serve."""

    id: int
    address: str
    port: int
    protocol: int
    state: int = 0
    """enum backend_state."""


def encode_frontends(
    frontends: Sequence[ServiceFrontend],
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Rows of headers and slots, each frontend's header after its slots."""
    key_type, value_type = layout.map_types("service")
    slots = [len(one.backends) + 1 for one in frontends]
    keys, values = np.zeros(sum(slots), key_type), np.zeros(sum(slots), value_type)
    address = layout.encode_addresses(one.address for one in frontends)
    keys["address"] = np.repeat(address, slots)
    for field in ("port", "protocol", "scope"):
        keys[field] = np.repeat([getattr(one, field) for one in frontends], slots)
    values["reverse"] = np.repeat([one.reverse for one in frontends], slots)
    values["flags"] = np.repeat([one.flags for one in frontends], slots)
    keys["slot"] = [s for count in slots for s in (*range(1, count), 0)]
    values["backend"] = [b for one in frontends for b in (*one.backends, one.affinity_s)]
    values["count"] = [
        c for one in frontends for c in (*[0] * len(one.backends), len(one.backends))
    ]
    return keys, values


def encode_backends(backends: Sequence[ServiceBackend]) -> NDArray[np.void]:
    """Rows of backends."""
    rows = np.zeros(len(backends), layout.map_types("backend")[1])
    rows["address"] = layout.encode_addresses(one.address for one in backends)
    for field in ("port", "protocol", "state"):
        rows[field] = [getattr(one, field) for one in backends]
    return rows


def decode_backend(number: int, row: Any) -> ServiceBackend:
    """One backend as a value."""
    return ServiceBackend(
        id=int(number),
        address=str(layout.decode_address(row["address"].item())),
        port=int(row["port"]),
        protocol=int(row["protocol"]),
        state=int(row["state"]),
    )


class ServiceMap:
    """Frontends and backends."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._services = maps["service"]
        self._backends = maps["backend"]

    @property
    def capacity(self) -> int:
        """How many slots fit, headers included."""
        return self._services.max_entries

    def write(
        self, frontends: Sequence[ServiceFrontend], backends: Sequence[ServiceBackend] = ()
    ) -> None:
        """Adds or replaces frontends, and the backends that they name.

        Slots beyond a frontend's new count stay until `prune`; no program reads them.

        Raises:
            MapFullError: No room; a frontend whose header is missing does not balance.
        """
        if backends:
            ids = np.array([one.id for one in backends], "<u4")
            self._backends.put(ids, encode_backends(backends))
        if frontends:
            self._services.put(*encode_frontends(frontends))

    def delete(self, frontends: Sequence[ServiceFrontend]) -> int:
        """Removes frontends with their slots, headers first; how many rows there were."""
        if not frontends:
            return 0
        keys, _ = encode_frontends(frontends)
        order = np.argsort(keys["slot"] != 0, kind="stable")
        return self._services.drop(keys[order])

    def delete_slots(self, frontends: Sequence[tuple[ServiceFrontend, int]]) -> int:
        """Removes the slots behind each frontend's last one, up to the number given."""
        rows = [(one, slot) for one, up_to in frontends
                for slot in range(len(one.backends) + 1, up_to + 1)]  # fmt: skip
        keys = np.zeros(len(rows), self._services.key)
        keys["address"] = layout.encode_addresses(one.address for one, _ in rows)
        for field in ("port", "protocol", "scope"):
            keys[field] = [getattr(one, field) for one, _ in rows]
        keys["slot"] = [slot for _, slot in rows]
        return self._services.drop(keys)

    def delete_backends(self, ids: Sequence[int]) -> int:
        """Removes backends; how many there were."""
        return self._backends.drop(np.array(ids, "<u4"))

    def prune(self, wanted: Sequence[ServiceFrontend]) -> int:
        """Removes rows of frontends, slots and backends that `wanted` does not need."""
        keys = self._services.keys()
        keep = encode_frontends(wanted)[0].tobytes() if wanted else b""
        size = self._services.key.itemsize
        known = {keep[at : at + size] for at in range(0, len(keep), size)}
        held = keys.tobytes()
        unknown = np.array(
            [held[at : at + size] not in known for at in range(0, len(held), size)], bool
        )
        gone = self._services.drop(keys[unknown])
        used = np.array(sorted({b for one in wanted for b in one.backends}), "<u4")
        ids = self._backends.keys()
        return gone + self._backends.drop(ids[~np.isin(ids, used)])

    def backends(self) -> dict[int, ServiceBackend]:
        """Every backend, by id."""
        keys, rows = self._backends.entries()
        return {int(k): decode_backend(k, row) for k, row in zip(keys, rows, strict=True)}

    def frontends(self) -> list[ServiceFrontend]:
        """Every frontend that has a header, with its slots in order."""
        keys, rows = self._services.entries()
        slots: dict[tuple[bytes, int, int, int], dict[int, Any]] = {}
        for key, row in zip(keys, rows, strict=True):
            name = (
                key["address"].item(),
                int(key["port"]),
                int(key["protocol"]),
                int(key["scope"]),
            )
            slots.setdefault(name, {})[int(key["slot"])] = row
        return [_frontend(*name, rows) for name, rows in sorted(slots.items()) if 0 in rows]


def _frontend(
    address: bytes, port: int, protocol: int, scope: int, slots: Mapping[int, Any]
) -> ServiceFrontend:
    header = slots[0]
    count = int(header["count"])
    return ServiceFrontend(
        address=str(layout.decode_address(address)),
        port=port,
        protocol=protocol,
        reverse=int(header["reverse"]),
        backends=tuple(int(slots[s]["backend"]) for s in range(1, count + 1) if s in slots),
        flags=int(header["flags"]),
        affinity_s=int(header["backend"]),
        scope=scope,
    )
