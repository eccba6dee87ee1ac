"""The Service: who is connected, what identity they have, and when they open."""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec

from cilia.datapath.maps.endpoints import EndpointEntry
from cilia.endpoint.cni import Attached, PodRequest
from cilia.endpoint.devices import device_name, random_mac
from cilia.endpoint.identify import Identifier
from cilia.endpoint.journal import Journal
from cilia.endpoint.plumbing import Plumbing
from cilia.endpoint.ports import Addresses, Assignment, Identities
from cilia.endpoint.settings import EndpointSettings
from cilia.endpoint.store import EndpointRecord
from cilia.model.errors import CiliaError, InvalidValue, NotFound
from cilia.model.label_filter import LabelFilter
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.tables import Tables

log = logging.getLogger(__name__)

LAST_ID = 65535
_THREADS = 4
Result = TypeVar("Result")


class EndpointService:
    """This node's endpoints.

    Attributes:
        journal: The states that each went through.
        records: What is stored of each, by id.
    """

    name = "endpoints"

    def __init__(
        self,
        settings: EndpointSettings,
        tables: Tables,
        plumbing: Plumbing,
        addresses: Addresses,
        identities: Identities,
        keep: LabelFilter | None = None,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            keep: Which labels make an identity.
        """
        self.journal = Journal()
        self.records: dict[int, EndpointRecord] = {}
        self._settings = settings
        self._table = tables.endpoints.claim("endpoint")
        self._plumbing = plumbing
        self._addresses = addresses
        self._identifier = Identifier(
            tables, identities, self._identified, settings.cluster, keep or LabelFilter()
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="endpoint")
        self._busy: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._opened: dict[int, asyncio.Event] = {}
        self._last_id = 0

    async def run(self, ready: asyncio.Event) -> None:
        """Restores, then follows pods and namespaces until cancelled."""
        await self.restore()
        ready.set()
        try:
            await self._identifier.run()
        finally:
            self._threads.shutdown(wait=False)

    # CNI

    async def add(self, request: PodRequest) -> Attached:
        """Connects a pod, and waits a little for its policy.

        A container that is connected already is disconnected first: the runtime
        has lost the answer, or retries.

        Raises:
            CiliaError: It cannot be done; nothing is left of the attempt.
        """
        key = (request.container, request.ifname)
        async with self._busy.setdefault(key, asyncio.Lock()):
            for old in self.find(*key):
                await self._remove(old)
            record = await self._connect(request)
        await self._wait_opened(record.id)
        return self._attached(record)

    async def delete(self, container: str, ifname: str = "") -> int:
        """Disconnects a container's interface, or all it has; how many there were."""
        gone = 0
        for record in self.find(container, ifname):
            key = (record.container, record.ifname)
            async with self._busy.setdefault(key, asyncio.Lock()):
                if record.id in self.records:
                    await self._remove(record)
                    gone += 1
        return gone

    async def check(self, request: PodRequest) -> None:
        """Finds out whether a pod is connected as ADD said.

        Raises:
            NotFound: No such endpoint, or a part of it is missing; the text names it.
        """
        records = self.find(request.container, request.ifname)
        if not records:
            raise NotFound(f"container {request.container}: no endpoint; run ADD again")
        await self._in_thread(lambda: self._check(records[0], request))

    async def collect(self, valid: Iterable[tuple[str, str]]) -> int:
        """Disconnects every pod that is not among (container, interface); how many."""
        known = set(valid)
        dead = [r for r in self.records.values() if (r.container, r.ifname) not in known]
        return sum([await self.delete(one.container, one.ifname) for one in dead])

    def find(self, container: str, ifname: str = "") -> list[EndpointRecord]:
        """Records of a container; with `ifname`, of that interface alone."""
        return [
            one
            for one in self.records.values()
            if one.container == container and ifname in ("", one.ifname)
        ]

    # Policy

    def policy_numbers(self) -> set[int]:
        """The policy numbers that any row in the kernel has, whoever wrote it."""
        return {entry.policy for entry in self._plumbing.kernel.rows.entries()}

    def assign(self, assignments: Mapping[int, Assignment]) -> None:
        """Writes what policy says into the endpoints' rows, and so opens them.

        When it returns, the kernel judges by it. Endpoints that are gone, or have
        no identity yet, are left out.
        """
        rows = {
            number: row
            for number in assignments
            if (row := self._table.get(number)) is not None
            and row.identity is not None
            and row.state is not EndpointState.DISCONNECTING
        }
        for number in rows:
            self.journal.note(number, EndpointState.REGENERATING.value, "writing policy")
        self._plumbing.kernel.assign(
            {row.ifindex: assignments[number] for number, row in rows.items()},
            {row.ifindex: row.identity or 0 for row in rows.values()},
        )
        for number, row in rows.items():
            one = assignments[number]
            said = f"policy revision {one.generation} in force"
            self.journal.note(number, EndpointState.READY.value, said)
            rows[number] = msgspec.structs.replace(
                row,
                state=EndpointState.READY,
                policy_revision=one.generation,
                ingress_enforced=one.ingress_enforced,
                egress_enforced=one.egress_enforced,
                audit=one.audit,
            )
            self._opened.setdefault(number, asyncio.Event()).set()
        self._table.upsert(*rows.values())
        if rows:
            revision = max(assignments[number].generation for number in rows)
            log.info("policy in force", extra={"revision": revision, "endpoints": sorted(rows)})

    def set_audit(self, number: int, *, audit: bool) -> None:
        """Chooses whether an endpoint is in audit mode, until it is chosen anew or deleted.

        Raises:
            NotFound: There is no such endpoint, or it is being deleted.
            CiliaError: The choice could not be stored; all is as it was.
        """
        row = self._table.get(number)
        if row is None or row.state is EndpointState.DISCONNECTING:
            raise NotFound(f"endpoint {number}: not on this node; see `cilia endpoint list`")
        record = msgspec.structs.replace(self.records[number], audit=audit)
        try:
            self._plumbing.store.save(record)
        except OSError as error:
            raise CiliaError(f"endpoint {number}: audit mode not stored: {error}") from error
        self.records[number] = record
        self._note(number, row.state, f"audit mode {'on' if audit else 'off'}")
        self._table.upsert(msgspec.structs.replace(row, audit_wanted=audit))

    # Restart

    async def restore(self) -> None:
        """Adopts what the last run connected: traffic flows on under the policy it had."""
        restored = await self._in_thread(self._plumbing.restore)
        for record, entry in restored.living:
            self._claim(record)
            self.records[record.id] = record
            self._identifier.restore(record)
            self._note(record.id, EndpointState.RESTORING, "adopted after a restart of the agent")
            self._table.upsert(_restored_row(record, entry))
        self._table.mark_synced()

    def _claim(self, record: EndpointRecord) -> None:
        row = _row(record)
        try:
            v4, v6 = _addresses(row)
            self._addresses.claim(v4, v6, f"{record.namespace}/{record.pod}")
        except (CiliaError, ValueError) as error:
            # Pod networks may have changed: the pod keeps what it has until it is deleted.
            log.warning("address not claimed", extra={"endpoint": record.id, "error": str(error)})

    # Inside

    async def _connect(self, request: PodRequest) -> EndpointRecord:
        number = self._next_id()
        pair = self._addresses.allocate(request.name)
        record = EndpointRecord(
            id=number,
            namespace=request.namespace,
            pod=request.pod,
            uid=request.uid,
            container=request.container,
            ifname=request.ifname,
            netns=request.netns,
            device=device_name(request.container, request.ifname),
            mac=random_mac(),
            host_mac=random_mac(),
            v4=str(pair.v4) if pair.v4 else None,
            v6=str(pair.v6) if pair.v6 else None,
            mtu=self._settings.mtu,
            given_labels=request.labels,
        )
        self.records[number] = record
        loop = asyncio.get_running_loop()

        def placed(made: EndpointRecord) -> None:
            loop.call_soon_threadsafe(self._placed, made)

        try:
            await self._in_thread(lambda: self._plug_in(record, placed))
        except Exception:
            await self._remove(record)
            raise
        return self.records[number]

    def _placed(self, record: EndpointRecord) -> None:
        """A pod has its row: time to find out its identity and policy."""
        self.records[record.id] = record
        self._note(record.id, EndpointState.WAITING_FOR_IDENTITY, "connected, closed")
        self._table.upsert(_row(record))
        self._identifier.look(record.id)

    def _plug_in(self, record: EndpointRecord, placed: Callable[[EndpointRecord], None]) -> None:
        if self._plumbing.devices.is_own_namespace(record.netns):
            raise InvalidValue(
                f"CNI_NETNS {record.netns}: the node's own network namespace; "
                "pods on the host network need no CNI plugin"
            )
        self._plumbing.connect(record, placed)

    async def _remove(self, record: EndpointRecord) -> None:
        record = self.records[record.id]
        self._note(record.id, EndpointState.DISCONNECTING, "deleting")
        self._identifier.forget(record.id)
        row = self._table.get(record.id)
        if row is not None:
            self._table.upsert(msgspec.structs.replace(row, state=EndpointState.DISCONNECTING))
        await self._in_thread(lambda: self._plumbing.disconnect(record))
        del self.records[record.id]
        self._opened.pop(record.id, None)
        self._table.delete(record.id)
        self._addresses.release(*_addresses(_row(record)))
        self.journal.forget(record.id)

    def _identified(self, row: EndpointRow) -> None:
        """An endpoint has an identity, or another one: policy's turn."""
        known = self.records.get(row.id)
        if known is None:
            return
        record = msgspec.structs.replace(known, identity=row.identity, labels=row.labels)
        self.records[row.id] = record
        self._plumbing.store.save(record)
        self._note(row.id, row.state, f"identity {row.identity}")
        self._table.upsert(row)

    def _check(self, record: EndpointRecord, request: PodRequest) -> None:
        if record.device not in self._plumbing.devices.existing():
            raise NotFound(f"endpoint {record.id}: interface {record.device} is gone")
        if self._plumbing.kernel.rows.read(record.ifindex) is None:
            raise NotFound(f"endpoint {record.id}: no row in map endpoint")
        missing = {one for one in (record.v4, record.v6) if one}
        missing -= self._plumbing.devices.pod_addresses(record)
        if missing:
            raise NotFound(
                f"endpoint {record.id}: {', '.join(sorted(missing))} is not on {record.ifname}"
            )
        wanted = {str(one.get("address", "")).split("/")[0] for one in _previous_ips(request)}
        if wanted - {record.v4, record.v6}:
            raise InvalidValue(
                f"prevResult ips {sorted(wanted)}: endpoint {record.id} has other addresses"
            )

    async def _wait_opened(self, number: int) -> None:
        event = self._opened.setdefault(number, asyncio.Event())
        try:
            async with asyncio.timeout(self._settings.ready_wait_s):
                await event.wait()
        except TimeoutError:
            log.warning("endpoint still closed when ADD ended", extra={"endpoint": number})

    def _attached(self, record: EndpointRecord) -> Attached:
        settings = self._settings
        pairs = [
            (f"{own}/{router.max_prefixlen}", str(router))
            for own, router in ((record.v4, settings.router_v4), (record.v6, settings.router_v6))
            if own and router
        ]
        return Attached(
            host_device=record.device,
            host_mac=record.host_mac,
            ifname=record.ifname,
            mac=record.mac,
            netns=record.netns,
            mtu=record.mtu,
            addresses=tuple(pairs),
        )

    def _next_id(self) -> int:
        for _ in range(LAST_ID):
            self._last_id = self._last_id % LAST_ID + 1
            if self._last_id not in self.records:
                return self._last_id
        raise CiliaError(f"all {LAST_ID} endpoint ids are in use on this node")

    def _note(self, number: int, state: EndpointState, message: str) -> None:
        self.journal.note(number, state.value, message)
        log.info("endpoint", extra={"endpoint": number, "state": state.value, "why": message})

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _row(record: EndpointRecord) -> EndpointRow:
    return EndpointRow(
        id=record.id,
        namespace=record.namespace,
        pod=record.pod,
        uid=record.uid,
        container=record.container,
        ifname=record.device,
        ifindex=record.ifindex,
        mac=record.mac,
        host_mac=record.host_mac,
        v4=record.v4,
        v6=record.v6,
        state=EndpointState.WAITING_FOR_IDENTITY,
        identity=record.identity,
        labels=record.labels,
        given_labels=record.given_labels,
        audit_wanted=record.audit,
    )


def _restored_row(record: EndpointRecord, entry: EndpointEntry) -> EndpointRow:
    return msgspec.structs.replace(
        _row(record),
        state=EndpointState.RESTORING,
        policy_revision=entry.generation,
        ingress_enforced=entry.ingress_enforced,
        egress_enforced=entry.egress_enforced,
        audit=entry.audit,
    )


def _addresses(
    row: EndpointRow,
) -> tuple[ipaddress.IPv4Address | None, ipaddress.IPv6Address | None]:
    return (
        ipaddress.IPv4Address(row.v4) if row.v4 else None,
        ipaddress.IPv6Address(row.v6) if row.v6 else None,
    )


def _previous_ips(request: PodRequest) -> list[dict[str, object]]:
    found = (request.previous or {}).get("ips") or []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
