"""The policy Service: tables in, the engine, the kernel out."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from cilia.model.errors import PolicyError
from cilia.model.rules import PolicyKey
from cilia.policy import facts
from cilia.policy.commit import Commit, CommitAccount
from cilia.policy.delta import Assign
from cilia.policy.engine import PolicyEngine
from cilia.policy.hints import read_hints, write_hints
from cilia.policy.settings import PolicySettings
from cilia.policy.sources import parse_policy
from cilia.policy.sync import PolicySync
from cilia.runtime.table import Change, Changes, Table, Watch
from cilia.state.endpoints import EndpointRow
from cilia.state.identities import IdentityRow
from cilia.state.ipcache import IpcacheRow
from cilia.state.policies import Key, PolicyObject
from cilia.state.policy_statuses import PolicyStatus
from cilia.state.tables import Tables

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""How long a kernel that refused is left alone before the whole state is tried again."""


class PolicyService:
    """Keeps the kernel's policy in step with the tables.

    Attributes:
        engine: What policy knows, for the API to read.
        sync: What the kernel has been told, and why not, if not.
        observe: Is told of every commit.
    """

    name = "policy"

    def __init__(
        self, tables: Tables, sync: PolicySync, settings: PolicySettings, hints: Path
    ) -> None:
        self.sync = sync
        self.observe: Callable[[Commit], None] = lambda _: None
        observed = sync.observed(read_hints(hints))
        self.engine = PolicyEngine(settings.enforcement, observed, settings.worlds)
        self._tables = tables
        self._settings = settings
        self._hints = hints
        self._work = asyncio.Event()
        self._has_moved = asyncio.Event()
        self._first = True
        self._moved: list[tuple[Table[Any], int]] = []
        self._errors: dict[Key, str] = {}
        self._heard: set[Key] = set()
        self._of_services: set[Key] = set()
        self._reported = -1
        self._account = CommitAccount()

    async def run(self, ready: asyncio.Event) -> None:
        """Follows the tables until cancelled; ready once the kernel has the first state."""
        tables = self._tables
        followed: list[tuple[Table[Any], Callable[[Changes[Any]], None]]] = [
            (tables.policies, self._policies),
            (tables.identities, self._identities),
            (tables.endpoints, self._endpoints),
            (tables.remote_endpoints, self._remote_endpoints),
            (tables.cidr_groups, self._groups),
            (tables.services, self._services),
            (tables.endpoint_slices, self._services),
        ]
        if self._settings.cidr_matches:
            followed.append((tables.ipcache, self._addresses))
        watches = [(table.watch(), take) for table, take in followed]
        async with asyncio.TaskGroup() as group:
            for table, _ in followed:
                await table.synced.wait()
            for watch, take in watches:
                group.create_task(self._follow(watch, take), name="policy follow")
            group.create_task(self._judge_moved(), name="policy judge again")
            await self._commit_forever(ready)

    def judge_again(self) -> None:
        """Has every connection judged again."""
        self.engine.judge_again()
        self._work.set()

    async def _follow(self, watch: Watch[Any], take: Callable[[Changes[Any]], None]) -> None:
        with watch:
            async for batch in watch:
                changes = [c for c in batch.changes if facts.concerns_policy(c.old, c.new)]
                if changes or not batch.changes:
                    take(batch._replace(changes=changes))
                    self._work.set()

    async def _commit_forever(self, ready: asyncio.Event) -> None:
        # One turn of the loop lets every feed hand over what it has, for one commit.
        await asyncio.sleep(0)
        while True:
            await self._wait_for_work()
            self._work.clear()
            self._commit()
            ready.set()

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(RETRY_S if self.sync.error else None):
                await self._work.wait()
        except TimeoutError:
            log.info("policy tried again", extra={"error": self.sync.error})

    def _commit(self) -> None:
        classes = self.engine.peers.classes.keys().keys()
        began = time.perf_counter()
        delta = self.engine.take_over(self.sync.held()) if self._first else self.engine.commit()
        computed = time.perf_counter()
        if self.sync.error or not self.sync.apply(delta):
            self.sync.replace(self.engine.state())
        elif self._first:
            self.sync.prune(self.engine.state())
        self._first = False
        written = time.perf_counter()
        switched = sum(len(step.assignments) for step in delta.steps if isinstance(step, Assign))
        self.observe(
            self._account.close(computed - began, written - computed, self.sync.error, switched)
        )
        if classes != self.engine.peers.classes.keys().keys():
            write_hints(self._hints, self.engine.hints())
        self._report()

    def _report(self) -> None:
        """Writes what became of policies: of those that changed, or of all."""
        heard, self._heard = self._heard, set()
        objects, statuses = self._tables.policies, self._tables.policy_statuses
        if self._reported == self.engine.selections:
            statuses.upsert(*(self._status(row) for key in heard if (row := objects.get(key))))
            statuses.delete(*(key for key in heard if key not in objects))
        else:
            self._reported = self.engine.selections
            statuses.replace(map(self._status, objects))

    def _status(self, row: PolicyObject) -> PolicyStatus:
        key = PolicyKey(*row.key)
        return PolicyStatus(
            row.key,
            row.generation,
            self._errors.get(row.key, ""),
            self.engine.applied.get(key, 0),
            tuple(self.engine.endpoints_of(key)),
        )

    # What the tables say

    def _policies(self, batch: Changes[PolicyObject]) -> None:
        for change in batch.changes:
            self._policy(change)
        self._services(batch)

    def _policy(self, change: Change[PolicyObject]) -> None:
        row = change.new or change.old
        assert row is not None, "a change has a row before or after"
        key = PolicyKey(*row.key)
        self._errors.pop(row.key, None)
        self._heard.add(row.key)
        self._of_services.discard(row.key)
        if change.new is not None and facts.uses_services(change.new.text):
            self._of_services.add(row.key)
        if change.new is None:
            self.engine.delete_policy(key)
            self._account.take_in(row.key)
            return
        try:
            document = msgspec.json.decode(change.new.text)
            self.engine.set_policy(parse_policy(document, self._settings.context, row.source))
            self._account.take_in(row.key)
        except (PolicyError, msgspec.DecodeError) as error:
            # The last good state of this object stays in force.
            self._errors[row.key] = str(error)
            self._account.take_in(row.key, refused=True)
            log.warning("policy refused", extra={"policy": str(key), "error": str(error)})

    def _identities(self, batch: Changes[IdentityRow]) -> None:
        for _, old, new in batch.changes:
            if new is not None:
                ports = facts.identity_ports(self._tables, new.number)
                self.engine.set_identity(new.number, new.labels, ports)
            elif old is not None:
                self.engine.delete_identity(old.number)

    def _endpoints(self, batch: Changes[EndpointRow]) -> None:
        for _, old, new in batch.changes:
            endpoint = (
                facts.endpoint_of(new, audit=self._settings.audit) if new is not None else None
            )
            if new is not None and endpoint is not None:
                self.engine.set_endpoint(new.id, endpoint)
            elif old is not None:
                self.engine.delete_endpoint(old.id)
        self._remote_endpoints(batch, self._tables.endpoints)

    def _remote_endpoints(self, batch: Changes[Any], table: Table[Any] | None = None) -> None:
        """Named ports follow the pods; an address that changes its identity is noted."""
        table = table or self._tables.remote_endpoints
        touched = {row.identity for c in batch.changes for row in (c.old, c.new) if row is not None}
        for number in touched - {None}:
            if (peer := self.engine.peers.peers.get(number)) is not None:
                ports = facts.identity_ports(self._tables, number)
                self.engine.set_identity(number, peer.labels, ports)
        if any(_has_moved(change) for change in batch.changes):
            self._moved.append((table, batch.revision))
            self._has_moved.set()

    def _addresses(self, batch: Changes[IpcacheRow]) -> None:
        for _, old, new in batch.changes:
            row = new or old
            assert row is not None, "a change has a row before or after"
            if new is not None and facts.is_matched(new, self._settings.cidr_matches):
                self.engine.set_address(new.key, new.identity)
            else:
                self.engine.delete_address(row.key)

    def _groups(self, _batch: Changes[Any]) -> None:
        self.engine.set_cidr_groups(map(facts.group_of, self._tables.cidr_groups))

    def _services(self, _batch: Changes[Any]) -> None:
        if self._of_services:
            found = facts.services_of(self._tables.services, self._tables.endpoint_slices)
            self.engine.set_services(found)

    async def _judge_moved(self) -> None:
        """Judges connections again once the ipcache knows an address's new identity."""
        while True:
            await self._has_moved.wait()
            self._has_moved.clear()
            moved, self._moved = self._moved, []
            for table, revision in moved:
                await table.wait_reconciled(revision, by="ipcache")
            self.judge_again()


def _has_moved(change: Change[Any]) -> bool:
    old, new = change.old, change.new
    if old is None or new is None or old.identity is None:
        return False
    return bool(old.identity != new.identity)
