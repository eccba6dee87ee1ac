"""How far policies have got: what policy wants, against the endpoints' rows in the kernel.

    policy statuses, endpoints ──┐
    endpoint map (kernel) ───────┴─▶ policy enforcements ──▶ objects' status, REST

An endpoint enforces an object when its row is open under the policy number that policy
last chose for it, for that number's rows are of every object that selects the endpoint.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Set
from typing import Any

import msgspec

from cilia.datapath import layout
from cilia.kernel.maps import Map
from cilia.model.errors import CiliaError, PolicyError
from cilia.policy.service import PolicyService
from cilia.policy.settings import PolicySettings
from cilia.policy.sources import parse_policy
from cilia.policy.suspicions import suspicions_of
from cilia.runtime.clock import Clock
from cilia.state.policies import Key, PolicyObject
from cilia.state.policy_enforcements import PolicyEnforcement
from cilia.state.policy_statuses import PolicyStatus
from cilia.state.tables import Tables

log = logging.getLogger(__name__)

GATHER_S = 0.1
"""What changes within this time is looked at once."""
BEHIND_S = 1.0
"""How often to look while an endpoint is behind."""
READ_AT_ONCE = 100
"""So many new objects are read in one look, a tenth of a second; the others in the next."""
LOOK_S = 30.0
"""How often to look when all is well, should somebody else have changed the kernel."""

OpenRows = Mapping[int, int]
"""Endpoint id -> policy number of its row in the kernel, of those that are open."""


class Enforcement:
    """A Service that keeps the table of policy enforcements."""

    name = "policy enforcement"

    def __init__(
        self,
        tables: Tables,
        policy: PolicyService,
        endpoint_map: Map,
        settings: PolicySettings,
        clock: Clock,
    ) -> None:
        self._tables = tables
        self._table = tables.policy_enforcements.claim("agent")
        self._policy = policy
        self._map = endpoint_map
        self._settings = settings
        self._clock = clock
        self._read: dict[Key, tuple[bytes, tuple[str, ...], int]] = {}
        self._unread = False
        self._names: dict[int, str] = {}
        self._made: dict[Key, tuple[PolicyStatus, PolicyEnforcement]] = {}

    async def run(self, ready: asyncio.Event) -> None:
        """Looks whenever something may have changed, until cancelled."""
        ready.set()
        tables = self._tables
        with tables.policy_statuses.watch() as statuses, tables.endpoints.watch() as endpoints:
            while True:
                self.look()
                behind = any(row.missing for row in self._table)
                pending = (statuses.pending, endpoints.pending)
                limit_s = 0.0 if self._unread else BEHIND_S if behind else LOOK_S
                await _any_of(pending, limit_s)
                await self._clock.sleep(GATHER_S)
                statuses.take()
                endpoints.take()

    def look(self) -> None:
        """Compares once, now."""
        try:
            open_rows = read_open_rows(self._map)
        except CiliaError as error:
            log.error("endpoint rows not read", extra={"error": str(error)})
            return
        known = {row.key for row in self._tables.policies}
        self._read = {key: read for key, read in self._read.items() if key in known}
        names = {row.id: f"{row.namespace}/{row.pod}" for row in self._tables.endpoints}
        if names != self._names:
            self._names, self._made = names, {}
        assigned = self._policy.engine.assigned
        behind = {
            number
            for number in names
            if number not in assigned or open_rows.get(number) != assigned[number].policy
        }
        statuses = self._tables.policy_statuses
        self._read_new(statuses)
        self._made = {
            each.key: (each, self._row(each, open_rows, behind))
            for each in statuses
            if each.key in self._read
        }
        self._table.replace([row for _, row in self._made.values()])
        if self._tables.policies.synced.is_set() and all(key in self._table for key in known):
            self._table.mark_synced()

    def _row(
        self, status: PolicyStatus, open_rows: OpenRows, behind: Set[int]
    ) -> PolicyEnforcement:
        _, warnings, rules = self._read[status.key]
        missing = status.endpoints if status.error else ()
        if behind and not status.error:
            missing = tuple(number for number in status.endpoints if number in behind)
        held = self._made.get(status.key)
        # With thousands of policies, most are as they were: nothing is put together again.
        if held is not None and held[0] is status and not missing:
            row = held[1]
            if not row.missing and row.warnings is warnings and row.rules == rules:
                return row
        return PolicyEnforcement(
            status.key,
            status.generation,
            status.error,
            warnings,
            status.revision,
            rules,
            self._named(status.endpoints),
            self._named(missing),
            self._reason(status, missing, open_rows),
            bool(missing and self._policy.sync.error and not status.error),
        )

    def _reason(self, status: PolicyStatus, missing: tuple[int, ...], open_rows: OpenRows) -> str:
        if not missing:
            return ""
        if status.error:
            return "the object is refused; what was in force before it stays"
        if self._policy.sync.error:
            return self._policy.sync.error
        if any(number not in open_rows for number in missing):
            return "the endpoint is closed: see `cilia endpoint log`"
        return "the kernel holds an earlier policy for the endpoint"

    def _named(self, numbers: Iterable[int]) -> tuple[str, ...]:
        return tuple(sorted(self._names[each] for each in numbers if each in self._names))

    def _read_new(self, statuses: Iterable[PolicyStatus]) -> None:
        """Reads objects that are new or have changed, a few at a time."""
        left = READ_AT_ONCE
        self._unread = False
        for status in statuses:
            row = self._tables.policies.get(status.key)
            held = self._read.get(status.key)
            if row is None or (held is not None and held[0] == row.text):
                continue
            if not left:
                self._unread = True
                return
            left -= 1
            self._read[status.key] = (row.text, *read_object(row, self._settings))


def read_object(row: PolicyObject, settings: PolicySettings) -> tuple[tuple[str, ...], int]:
    """Returns what is suspicious about an object, and how many rules it has."""
    document: Any = msgspec.json.decode(row.text)
    try:
        policy = parse_policy(document, settings.context)
    except PolicyError:
        return (), 0
    rules = sum(len(spec.entries) for spec in policy.specs)
    return tuple(map(str, suspicions_of(document, policy))), rules


def read_open_rows(endpoint_map: Map) -> OpenRows:
    """Returns the policy number of every endpoint that the kernel lets speak."""
    rows = endpoint_map.entries()[1]
    ready = (rows["flags"] & layout.constant("ENDPOINT_READY")) != 0
    return dict(zip(rows["id"][ready].tolist(), rows["policy"][ready].tolist(), strict=True))


async def _any_of(events: Iterable[asyncio.Event], limit_s: float) -> None:
    """Returns once one of the events is set, or the time is over."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
