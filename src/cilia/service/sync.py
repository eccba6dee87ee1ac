"""Frontends to the kernel's service and backend maps.

New backends go in first and old ones out last, so that no header ever counts a slot
whose backend is missing.
"""

from collections import Counter
from collections.abc import Sequence

from cilia.datapath import layout
from cilia.datapath.maps.service import ServiceBackend, ServiceFrontend
from cilia.model.errors import CiliaError, MapFull
from cilia.runtime.reconciler import Failed
from cilia.service.ports import ServiceRows
from cilia.state.frontends import Backend, Frontend

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
FRONTENDS_MAX = 65535
"""Frontends have 16-bit numbers."""

Place = tuple[str, int, int]
"""Address, port and protocol number."""


class NumbersFull(CiliaError):
    """No number is left for another frontend."""


class KernelServices:
    """A reconciler's target; adopts what the maps hold when it is made."""

    def __init__(self, rows: ServiceRows) -> None:
        self._rows = rows
        self._placed = {_place(one): one for one in rows.frontends()}
        self._backends = {_place(one): one.id for one in rows.backends().values()}
        self._uses = Counter(n for one in self._placed.values() for n in one.backends)
        self._reverse = {one.reverse: place for place, one in self._placed.items()}
        self._taken = set(self._backends.values())
        self._next_backend = max(self._taken, default=0)
        self._next_reverse = max(self._reverse, default=0)

    def numbers(self) -> dict[Place, ServiceFrontend]:
        """Returns what is in the kernel, by place."""
        return dict(self._placed)

    async def update(self, rows: Sequence[Frontend]) -> Sequence[Failed]:
        """Writes frontends: all at once, and one by one when not all fit."""
        try:
            self._write(rows)
        except (MapFull, NumbersFull):
            return self._write_singly(rows)
        return []

    async def delete(self, rows: Sequence[Frontend]) -> Sequence[Failed]:
        """Removes frontends, and the backends that nobody needs any more."""
        places = [_row_place(row) for row in rows]
        gone = [self._placed.pop(place) for place in places if place in self._placed]
        self._rows.delete(gone)
        for one in gone:
            self._reverse.pop(one.reverse, None)
            self._uses.subtract(one.backends)
        self._drop_unused()
        return []

    async def prune(self, rows: Sequence[Frontend]) -> Sequence[Failed]:
        """Writes frontends, and removes all else from the maps."""
        failed = await self.update(rows)
        wanted = {_row_place(row) for row in rows}
        for place in self._placed.keys() - wanted:
            one = self._placed.pop(place)
            self._reverse.pop(one.reverse, None)
            self._uses.subtract(one.backends)
        self._rows.prune(list(self._placed.values()))
        self._forget_unused()
        return failed

    def _write_singly(self, rows: Sequence[Frontend]) -> list[Failed]:
        failed = []
        for row in rows:
            try:
                self._write([row])
            except (MapFull, NumbersFull) as error:
                failed.append(Failed(row.key, str(error)))
        return failed

    def _write(self, rows: Sequence[Frontend]) -> None:
        backends: dict[int, ServiceBackend] = {}
        fresh: list[ServiceFrontend] = []
        for row in rows:
            place = _row_place(row)
            old = self._placed.get(place)
            one = self._encoded(row, place, old, backends)
            if old != one:
                fresh.append(one)
        self._rows.write(fresh, list(backends.values()))
        shrunk = []
        for one in fresh:
            place = _place(one)
            old = self._placed.get(place)
            self._placed[place] = one
            self._uses.update(one.backends)
            if old is not None:
                self._uses.subtract(old.backends)
                if len(old.backends) > len(one.backends):
                    shrunk.append((one, len(old.backends)))
        self._rows.delete_slots(shrunk)
        self._drop_unused()

    def _encoded(
        self,
        row: Frontend,
        place: Place,
        old: ServiceFrontend | None,
        backends: dict[int, ServiceBackend],
    ) -> ServiceFrontend:
        return ServiceFrontend(
            address=row.address,
            port=row.port,
            protocol=place[2],
            reverse=old.reverse if old is not None else self._free_reverse(place),
            backends=tuple(self._number(backend, backends) for backend in row.backends),
            flags=layout.constant("SERVICE_CLUSTER_IP"),
        )

    def _number(self, backend: Backend, fresh: dict[int, ServiceBackend]) -> int:
        place = (backend.address, backend.port, PROTOCOLS[backend.protocol])
        number = self._backends.get(place)
        if number is None:
            self._next_backend += 1
            while self._next_backend in self._taken:
                self._next_backend += 1
            number = self._next_backend
            self._taken.add(number)
            self._backends[place] = number
        if not self._uses.get(number):
            fresh[number] = ServiceBackend(number, *place)
        return number

    def _free_reverse(self, place: Place) -> int:
        for _ in range(FRONTENDS_MAX):
            self._next_reverse = self._next_reverse % FRONTENDS_MAX + 1
            holder = self._reverse.get(self._next_reverse)
            # A number given to a frontend that then did not fit is free for another.
            if holder is None or holder == place or holder not in self._placed:
                self._reverse[self._next_reverse] = place
                return self._next_reverse
        raise NumbersFull(f"frontend {place}: all {FRONTENDS_MAX} numbers are taken")

    def _drop_unused(self) -> None:
        self._rows.delete_backends(self._forget_unused())

    def _forget_unused(self) -> list[int]:
        uses = self._uses.get
        unused = [number for number in self._taken if uses(number, 0) <= 0]
        if unused:
            gone = set(unused)
            self._taken -= gone
            self._backends = {p: n for p, n in self._backends.items() if n not in gone}
            for number in unused:
                del self._uses[number]
        return unused


def _row_place(row: Frontend) -> Place:
    return (row.address, row.port, PROTOCOLS[row.protocol])


def _place(one: ServiceFrontend | ServiceBackend) -> Place:
    return (one.address, one.port, one.protocol)
