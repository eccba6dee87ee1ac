"""Flows of one run as keys: equal keys are flows that no metric tells apart."""

import secrets
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.columns import halves_of
from cilia.hubble.events import POLICY_DENIED, POLICY_DENY, POLICY_VERDICT, address_text
from cilia.hubble.heard import names_of
from cilia.hubble.metrics.facts import L7, FlowFacts
from cilia.hubble.metrics.series import OTHER
from cilia.hubble.parties import SIDES
from cilia.hubble.ports import Names
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import FlowStore, Rows

SIDE_NUMBERS = tuple(enumerate(SIDES))
Places = NDArray[np.intp] | slice
"""Of rows; the slice without ends is all of them."""
Keys = NDArray[np.uint64]

ADDRESSES, DETAIL, PARTIES, PORT = "addresses", "detail", "parties", "port"
PROVENANCE, REPLY = "provenance", "reply"
BYTES = (
    "type", "sub_type", "flow_verdict", "drop_reason", "protocol", "ip", "traffic", "match", REPLY
)  # fmt: skip
"""Columns of one byte."""
WIDE = frozenset((ADDRESSES, PORT))
"""What strangers can make up values of."""
HIDDEN = -1
"""The port of flows whose port is not told."""
ASKED = (
    *BYTES, "tcp_flags", "icmp_type", "icmp_code", "source_party", "destination_party",
    "provenance",
)  # fmt: skip
"""Columns that facts are made of."""
TCP_BITS = 0x17
"""FIN, SYN, RST, ACK."""

Requests = Callable[[int], tuple[flow_pb2.Layer7, str] | None]
"""The request of the flow with a sequence number, and the id of its trace."""


class Look:
    """Where facts about rows come from.

    Args:
        store: Of the rows.
        names: Of policies.
        requests: Of rows that stand for requests.
    """

    def __init__(
        self,
        store: FlowStore,
        names: Names,
        requests: Requests = lambda number: None,
    ) -> None:
        self.parties = store.parties
        self.heard = store.heard
        self.names = names
        self.requests = requests
        self.factors = [np.uint64(secrets.randbits(64) | 1) for _ in range(10)]


class Batch:
    """Some rows, and what is computed of them once for all metrics."""

    def __init__(self, rows: Rows, look: Look) -> None:
        self.rows = rows
        self._look = look
        self._ports = _ports(rows)
        self._columns = {name: rows[name] for name in ASKED}

    def keys(self, places: Places, columns: Collection[str]) -> Keys:
        """A number for each of some rows, equal where all columns are equal.

        Args:
            places: Of the rows.
            columns: Names of `BYTES`, and `ADDRESSES`, `DETAIL`, `PARTIES`, `PORT` and
                `PROVENANCE`.
        """
        rows, factors = self.rows, self._look.factors
        first, second = _packed(rows, places, columns)
        keys: Keys = first * factors[0]
        keys ^= keys >> np.uint64(32)
        keys += second * factors[9]
        added: list[tuple[NDArray[Any], np.uint64]] = []
        if PARTIES in columns:
            added += [(rows[f"{side}_party"][places], factors[1 + at]) for at, side in SIDE_NUMBERS]
        if PORT in columns:
            added.append((self._ports[places], factors[3]))
        if PROVENANCE in columns:
            added.append((rows["provenance"][places], factors[4]))
        if ADDRESSES in columns:
            for at, side in SIDE_NUMBERS:
                halves = halves_of(rows[side][places])
                added += [(halves[:, 0], factors[5 + 2 * at]), (halves[:, 1], factors[6 + 2 * at])]
        for column, factor in added:
            keys += column.astype(np.uint64) * factor
        return keys

    def facts(self, at: int, columns: Collection[str], *, hides: bool) -> FlowFacts:
        """What is known of one row.

        Only what `columns` tells apart is right for its equals, too. `hides`: addresses and
        port, if they are not among the columns, are shown as `other`.
        """
        rows, row, look = self.rows, self._row(at), self._look
        source = destination = OTHER if hides else ""
        if row["ip"] and ADDRESSES in columns:
            source, destination = (address_text(bytes(rows[side][at])) for side in SIDES)
        knows_names = ADDRESSES in columns and len(look.heard) > 0
        judged = PROVENANCE in columns and _is_judged(row)
        provenance = row["provenance"] if judged else 0
        is_request = row["type"] == L7
        request = look.requests(rows.first + at) if is_request else None
        return FlowFacts(
            type=row["type"],
            sub_type=row["sub_type"],
            verdict=row["flow_verdict"],
            drop_reason=row["drop_reason"],
            protocol=row["protocol"],
            ip=row["ip"],
            tcp_flags=row["tcp_flags"],
            icmp_type=row["icmp_type"],
            icmp_code=row["icmp_code"],
            reply=row["reply"],
            traffic=row["traffic"],
            match=row["match"],
            source=look.parties.rows[row["source_party"]],
            destination=look.parties.rows[row["destination_party"]],
            source_ip=source,
            destination_ip=destination,
            source_names=names_of(look.heard, rows, at, "source") if knows_names else (),
            destination_names=names_of(look.heard, rows, at, "destination") if knows_names else (),
            port=int(self._ports[at]) if PORT in columns else HIDDEN if hides else 0,
            policies=tuple(look.names.policies(provenance)) if provenance else (),
            is_judged=bool(provenance),
            layer7=request[0] if request else None,
            trace_id=request[1] if request else "",
        )

    def _row(self, at: int) -> dict[str, int]:
        return {name: column.item(at) for name, column in self._columns.items()}


def _is_judged(row: dict[str, int]) -> bool:
    return row["type"] == POLICY_VERDICT or row["drop_reason"] in (POLICY_DENIED, POLICY_DENY)


def _packed(rows: Rows, places: Places, columns: Collection[str]) -> tuple[Keys, Keys]:
    """The columns with few values as two numbers a row: a byte each."""
    kinds = rows["type"][places]
    packed = np.zeros((len(kinds), 16), np.uint8)
    for at, name in enumerate(BYTES):
        if name in columns:
            packed[:, at] = kinds if name == "type" else rows[name][places]
    if DETAIL in columns:
        packed[:, len(BYTES) : len(BYTES) + 3] = _detail(rows, places)
    numbers = packed.view(np.uint64)
    return numbers[:, 0], numbers[:, 1]


def _ports(rows: Rows) -> NDArray[Any]:
    """The destination's port of what is no reply: those of clients are not told apart."""
    protocol = rows["protocol"]
    has_ports = (protocol == 6) | (protocol == 17) | (protocol == 132)
    return np.where(has_ports & (rows["reply"] != 1), rows["destination_port"], 0)


def _detail(rows: Rows, places: Places) -> NDArray[np.uint8]:
    """Flags of TCP, and type and code of ICMP: shape (n, 3)."""
    protocol = rows["protocol"][places]
    is_icmp = (protocol == 1) | (protocol == 58)
    found = np.zeros((len(protocol), 3), np.uint8)
    found[:, 0] = (rows["tcp_flags"][places] & TCP_BITS) * (protocol == 6)
    found[:, 1] = rows["icmp_type"][places] * is_icmp
    found[:, 2] = rows["icmp_code"][places] * is_icmp
    return found
