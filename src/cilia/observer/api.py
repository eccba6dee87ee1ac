"""The observer's own REST API, on a unix socket: what Hubble's API has no words for.

GET /v1/account       what was seen and what was lost, of events and of connections
GET /v1/connections   the largest live connections, or the newest that have ended
GET /v1/totals        who moved most with whom since the observer began
"""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from cilia.datapath import layout
from cilia.hubble.events import PROTOCOLS, address_text
from cilia.hubble.parties import Parties
from cilia.hubble.ports import Names
from cilia.hubble.store import FlowStore
from cilia.model.errors import InvalidValue
from cilia.observer.account import EventAccount
from cilia.observer.harvest import Harvester
from cilia.wire.unixhttp import Handler, Request, Response, json_response, query_number

Json = dict[str, Any]

SOCKET = "observer.sock"
MEASURES = ("bytes", "packets")
MOST = 10_000
"""Rows that one answer holds."""
NS = 1e9
TCP_RST = 4


class ObserverApi:
    """Answers from what the observer has in memory.

    Args:
        account: Of events.
        store: Flows, for what their readers missed and for parties.
        harvester: Connections.
        names: For the rules behind them.
        monitor_lost: Gives the events that the monitor's subscribers were too slow for.
    """

    def __init__(
        self,
        account: EventAccount,
        store: FlowStore,
        harvester: Harvester,
        names: Names,
        monitor_lost: Callable[[], int],
    ) -> None:
        self._account = account
        self._store = store
        self._harvester = harvester
        self._names = names
        self._monitor_lost = monitor_lost

    def routes(self) -> list[tuple[str, str, Handler]]:
        """For a `UnixServer`."""
        return [
            ("GET", "/v1/account", self.account),
            ("GET", "/v1/connections", self.connections),
            ("GET", "/v1/totals", self.totals),
        ]

    async def account(self, request: Request) -> Response:
        """What was seen and what was lost."""
        counts = self._account.counts()
        events = {name: sum(getattr(counts, name)) for name in ("sent", "seen", "waiting", "lost")}
        flows = {"stored": len(self._store), "seen": self._store.total}
        slow = {"flows": self._store.overrun, "monitor": self._monitor_lost()}
        return json_response(
            {
                "events": events | {"missing": counts.missing, "by-cpu": counts},
                "flows": flows,
                "slow-readers": slow,
                "connections": self._harvester.counts,
            }
        )

    async def connections(self, request: Request) -> Response:
        """Live ones, the largest first; `state=ended`: the newest that have ended."""
        number, measure = _wanted(request)
        state = request.query.get("state", "live")
        if state not in ("live", "ended"):
            raise InvalidValue(f"query parameter state is {state!r}; it must be live or ended")
        if state == "ended":
            rows = self._harvester.ended.newest(number)
            rows = rows[np.argsort(rows["last_seen"].max(axis=1))[::-1]]
        else:
            rows = await asyncio.to_thread(self._harvester.largest, number, measure)
            self._harvester.resolve(rows)
        words = {"ended": end_word, "live": live_word}[state]
        named = [
            self._connection(row) | {"state": words(int(row["flags"]), row["tcp_flags"].tolist())}
            for row in rows
        ]
        return json_response(named)

    async def totals(self, request: Request) -> Response:
        """Pairs of parties, those that moved most first."""
        number, measure = _wanted(request)
        found = self._harvester.totals.by_party()
        moved = getattr(found, measure).sum(axis=1)
        order = np.argsort(moved)[::-1][:number]
        parties = self._store.parties
        return json_response(
            [
                {
                    "source": party_json(parties, int(found.first[at])),
                    "destination": party_json(parties, int(found.second[at])),
                    "packets": found.packets[at].tolist(),
                    "bytes": found.bytes[at].tolist(),
                    "connections": int(found.connections[at]),
                }
                for at in order.tolist()
            ]
        )

    def _connection(self, row: Any) -> Json:
        parties = self._store.parties
        sides = {
            side: party_json(parties, int(row[f"{side}_party"]))
            | {"ip": address_text(row[side].tobytes()), "port": int(row[f"{side}_port"])}
            for side in ("source", "destination")
        }
        protocol = int(row["protocol"])
        rules = [
            "/".join(filter(None, (ref.namespace, ref.name)))
            for number in row["provenance"].tolist()
            for ref in self._names.policies(number)
        ]
        return {
            **sides,
            "protocol": PROTOCOLS.get(protocol, str(protocol)),
            "packets": row["packets"].tolist(),
            "bytes": row["bytes"].tolist(),
            "first": int(row["first_seen"]) / NS,
            "last": int(row["last_seen"].max()) / NS,
            "policies": list(dict.fromkeys(rules)),
        }


def party_json(parties: Parties, number: int) -> Json:
    """A party by the names that it has."""
    party = parties.rows[number]
    return {
        "namespace": party.namespace,
        "pod": party.pod,
        "identity": party.identity,
        "labels": list(party.labels),
    }


def end_word(flags: int, tcp_flags: list[int]) -> str:
    """How a connection ended: `reset`, `closed`, or `expired` for one that fell silent or was
    removed.
    """
    word = live_word(flags, tcp_flags)
    return "expired" if word == "live" else word


def live_word(flags: int, tcp_flags: list[int]) -> str:
    """The same for one that conntrack still holds; `live`: it goes on."""
    both = layout.constant("CONNTRACK_TX_CLOSING") | layout.constant("CONNTRACK_RX_CLOSING")
    if any(flag & TCP_RST for flag in tcp_flags):
        return "reset"
    return "closed" if flags & both == both else "live"


def _wanted(request: Request) -> tuple[int, str]:
    """How many rows, and by which measure."""
    measure = request.query.get("by", "bytes")
    if measure not in MEASURES:
        raise InvalidValue(
            f"query parameter by is {measure!r}; it must be one of {', '.join(MEASURES)}"
        )
    return min(query_number(request, "number", 20), MOST), measure
