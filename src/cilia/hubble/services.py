"""Which service a flow is for: the frontend that its socket asked for.

Packets never carry a service's address: the socket was given a backend before the first of
them left. What the programs at the socket report ties the two together, so that the packets
of that socket to that backend have the service too.
"""

import secrets

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.hubble.columns import halves_of
from cilia.hubble.events import (
    SOCK_POST_FORWARD,
    SOCK_PRE_FORWARD,
    TRACE_SOCK,
    address_text,
)
from cilia.hubble.ports import Names
from cilia.hubble.sockets import SLOTS, SocketTable, is_backend, of_sockets, taken

Records = NDArray[np.void]
Numbers = NDArray[np.uint32]


class Frontend(msgspec.Struct, frozen=True):
    """An address that stands for a service."""

    address: str
    port: int
    protocol: int
    namespace: str = ""
    name: str = ""
    """Empty until the agent has been asked."""


NO_SERVICE = Frontend("", 0, 0)


class Services:
    """Numbers for the services that were asked for; 0 is none."""

    def __init__(self) -> None:
        self.rows: list[Frontend] = [NO_SERVICE]
        """By number."""
        self.version = 0
        """Moves when one comes or learns its name."""
        self._numbers: dict[int, int] = {}
        self._cookies = np.zeros(SLOTS, "u8")
        self._asked = np.zeros(SLOTS, "u4")
        self._fresh: list[Records] = []
        self._table = SocketTable(np.dtype("u4"))
        self._factors = [np.uint64(secrets.randbits(64) | 1) for _ in range(4)]

    def numbers(self, records: Records) -> Numbers:
        """The service of each record's destination; shape (n,). No Python per packet."""
        found = np.zeros(len(records), "u4")
        socks = np.flatnonzero(of_sockets(records))
        if len(socks):
            self._learn(records, socks, found)
        if len(self.rows) > 1:
            numbers, known = self._table.get(records)
            np.copyto(found, numbers, where=known & (found == 0))
        return found

    def take_fresh(self) -> list[Records]:
        """One record of each frontend that came since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def join(self, names: Names) -> None:
        """Names what can be named now; an address that changed hands gets a new number."""
        for key, number in list(self._numbers.items()):
            row = self.rows[number]
            told = names.service(row.address, row.port, row.protocol)
            namespace, _, name = told.rpartition("/")
            if not told or (namespace, name) == (row.namespace, row.name):
                continue
            fresh = msgspec.structs.replace(row, namespace=namespace, name=name)
            self.version += 1
            if row.name:
                self._numbers[key] = len(self.rows)
                self.rows.append(fresh)
            else:
                self.rows[number] = fresh

    def _learn(self, records: Records, socks: NDArray[np.intp], found: Numbers) -> None:
        """Numbers the frontends, and ties each to the backend that its socket was given."""
        rows = taken(records, socks).view(records.dtype)
        fronts = np.flatnonzero(~is_backend(rows))
        found[socks[fronts]] = self._frontends(taken(rows, fronts).view(rows.dtype))
        asked, given = (
            (rows["type"] == TRACE_SOCK) & (rows["subtype"] == point)
            for point in (SOCK_PRE_FORWARD, SOCK_POST_FORWARD)
        )
        found[socks[given]] = self._asked_before(rows, found[socks], asked)[given]
        tied = socks[given & (found[socks] != 0)]
        self._table.put(taken(records, tied).view(records.dtype), found[tied])

    def _asked_before(self, rows: Records, fronts: Numbers, asked: NDArray[np.bool_]) -> Numbers:
        """For each row, the frontend that its socket asked for last."""
        order = np.argsort(rows["cookie"], kind="stable")
        cookies, numbers = rows["cookie"][order], fronts[order]
        last = np.maximum.accumulate(np.where(asked[order], np.arange(len(order)), -1))
        here = (last >= 0) & (cookies[last] == cookies)
        slots = cookies % SLOTS
        before = np.where(self._cookies[slots] == cookies, self._asked[slots], 0)
        answer = np.empty(len(rows), "u4")
        answer[order] = np.where(here, numbers[last], before)
        slots = rows["cookie"][asked] % SLOTS
        self._cookies[slots], self._asked[slots] = rows["cookie"][asked], fronts[asked]
        return answer

    def _frontends(self, rows: Records) -> Numbers:
        halves = halves_of(rows["destination"])
        one, two, three, four = self._factors
        keys = halves[:, 0] * one + halves[:, 1] * two
        keys += rows["destination_port"].astype("u8") * three + rows["protocol"] * four
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        numbers = [self._number(int(key), rows[at]) for key, at in zip(unique, first, strict=True)]
        return np.array(numbers, "u4")[inverse]

    def _number(self, key: int, row: np.void) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.rows)
            address = address_text(bytes(row["destination"]))
            protocol = int(row["protocol"])
            self.rows.append(Frontend(address, int(row["destination_port"]), protocol))
            self.version += 1
            self._fresh.append(np.array([row]))
        return self._numbers[key]
