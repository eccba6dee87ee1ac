"""Names for the numbers in records, as the agent knows them."""

import asyncio
import json
import logging
import time
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.events import address_text
from cilia.hubble.ports import EndpointName, PolicyRef
from cilia.hubble.sockets import is_backend, of_sockets
from cilia.wire.http10 import decode_answer, encode_request

log = logging.getLogger(__name__)

Json = Any
Key = TypeVar("Key", bound=Hashable)
FrontendKey = tuple[str, int, int]
"""Address, port, number of the protocol."""

RETRY_S = 1.0
"""How long a number that the agent does not know is not asked for again."""
REFRESH_S = 5.0
"""How long what may come to mean something else is believed: numbers of endpoints are given
anew, and lines of rules move."""
ASKED = 4_096
"""Questions that are remembered; beyond, only those that must not be asked again yet."""
CLUSTER = (256, 65535)
"""Identities that pods have."""
SIDES = ("source", "destination")
TIMEOUT_S = 2.0
PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}


async def fetch(path: Path, target: str) -> Json | None:
    """The JSON of a GET on a unix socket; None when there is none to be had."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(encode_request("GET", target, {}, None))
                status, body = decode_answer(await reader.read())
            finally:
                writer.close()
            return json.loads(body) if status == 200 else None
    except (OSError, TimeoutError, ValueError) as error:
        log.debug("agent not reached", extra={"target": target, "error": str(error)})
        return None


class AgentNames:
    """`hubble.ports.Names` from the agent's REST API; remembers what it learned.

    A dead agent costs names of new numbers only: what is known stays.
    """

    def __init__(self, socket: Path, retry_s: float = RETRY_S) -> None:
        self._socket = socket
        self._asking = asyncio.Lock()
        self._retry_s = retry_s
        self._endpoints: dict[int, EndpointName] = {}
        self._labels: dict[int, tuple[str, ...]] = {}
        self._policies: dict[int, tuple[PolicyRef, ...]] = {0: ()}
        self._pods: dict[str, tuple[str, int]] = {}
        self._workloads: dict[str, tuple[tuple[str, str], ...]] = {}
        self._services: dict[FrontendKey, str] = {}
        self._revisions: Json = {}
        self._asked: dict[tuple[str, Hashable], float] = {}
        self.node_labels: tuple[str, ...] = ()
        """Of this node, `key=value` each, sorted."""
        self.is_dual_stack = False
        """Whether pods of this node have addresses of both families."""

    def endpoint(self, number: int) -> EndpointName | None:
        """The endpoint of this node with that number."""
        return self._endpoints.get(number)

    def pod_at(self, address: str, identity: int) -> str:
        """`namespace/name` of a pod anywhere; empty where none has both of these."""
        pod, known = self._pods.get(address, ("", 0))
        return pod if known == identity else ""

    def workloads(self, pod: str) -> Sequence[tuple[str, str]]:
        """Name and kind of what a pod, `namespace/name`, belongs to."""
        return self._workloads.get(pod, ())

    def service(self, address: str, port: int, protocol: int) -> str:
        """`namespace/name` of the service with that frontend."""
        return self._services.get((address, port, protocol), "")

    def labels(self, identity: int) -> Sequence[str]:
        """The labels behind an identity, sorted."""
        return self._labels.get(identity, ())

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        """The rules behind a provenance id."""
        return self._policies.get(provenance, ())

    async def learn(self, records: NDArray[np.void]) -> None:
        """Asks the agent for every number in `records` that is not known yet.

        Who asks while another does waits for its answers: it would take for unknown what is
        being asked for.
        """
        async with self._asking:
            asked = self._asked.copy()
            try:
                await self._learn(records)
            except asyncio.CancelledError:  # what was not answered may be asked again at once
                self._asked = asked
                raise

    async def _learn(self, records: NDArray[np.void]) -> None:
        now = time.monotonic()
        identities = _numbers(records, "source_identity", "destination_identity")
        provenances = _numbers(records, "provenance") - {0}
        if self._due("endpoint", self._strange_endpoints(records), now):
            await self._learn_endpoints()
        if self._due("pod", self._strange_pods(records), now):
            await self._learn_pods()
        if self._due("service", self._strange_services(records), now):
            await self._learn_services()
        if self._due("identity", identities - self._labels.keys(), now):
            await self._learn_identities()
        fresh = self._due("provenance", provenances - self._policies.keys(), now)
        again = self._due("provenance", provenances, now, REFRESH_S)
        for number in provenances & (fresh | again):
            await self._learn_provenance(number)

    async def refresh(self) -> bool:
        """Learns anew what the agent says has changed; whether anything has.

        A name may pass to another without a number that is new: a pod elsewhere with the
        address and the labels of its predecessor, or a service with another's address.
        """
        told = await fetch(self._socket, "/v1/revisions")
        if told is None:
            return False
        if told.get("agent") != self._revisions.get("agent"):  # it counts from the beginning again
            self._revisions = {"agent": told.get("agent")}
        changed = False
        learners = {
            "endpoints": self._learn_endpoints,
            "ipcache": self._learn_pods,
            "frontends": self._learn_services,
            "nodes": self._learn_node,
        }
        for table, learn in learners.items():
            is_new = table in told and told[table] != self._revisions.get(table)
            if is_new and await learn():
                self._revisions[table] = told[table]
                changed = True
        return changed

    def _due(
        self, kind: str, keys: Iterable[Key], now: float, after_s: float | None = None
    ) -> set[Key]:
        """Those of `keys` that were not asked for lately; they count as asked for now."""
        wait_s = self._retry_s if after_s is None else after_s
        due = {key for key in keys if now - self._asked.get((kind, key), -wait_s) >= wait_s}
        self._asked.update({(kind, key): now for key in due})
        if len(self._asked) > ASKED:
            self._asked = {one: at for one, at in self._asked.items() if now - at < REFRESH_S}
        return due

    def _strange_endpoints(self, records: NDArray[np.void]) -> set[int]:
        """Numbers not known, or seen with an address that the endpoint does not have."""
        found = set()
        for side in SIDES:
            for number, address in _pairs(records, f"{side}_endpoint", side):
                known = self._endpoints.get(number)
                if number and (known is None or address not in known.addresses):
                    found.add(number)
        return found

    def _strange_pods(self, records: NDArray[np.void]) -> set[str]:
        """Addresses of pods elsewhere whose name is not known."""
        found = set()
        for side in SIDES:
            rows = records[records[f"{side}_endpoint"] == 0]
            for identity, address in _pairs(rows, f"{side}_identity", side):
                if CLUSTER[0] <= identity <= CLUSTER[1] and not self.pod_at(address, identity):
                    found.add(address)
        return found

    def _strange_services(self, records: NDArray[np.void]) -> set[FrontendKey]:
        """Frontends that sockets asked for, and whose service is not known."""
        rows = records[of_sockets(records)]
        rows = rows[~is_backend(rows)]
        found = {
            (address_text(bytes(row["destination"])), int(row["destination_port"]),
             int(row["protocol"]))
            for row in rows
        }  # fmt: skip
        return found - self._services.keys()

    async def _learn_node(self) -> bool:
        answer = await fetch(self._socket, "/v1/cluster/nodes")
        if answer is None:
            return False
        for node in answer.get("nodes-added") or ():
            if node["name"] == answer.get("self"):
                labels = node.get("labels") or {}
                self.node_labels = tuple(sorted(f"{key}={labels[key]}" for key in labels))
                families = (node.get("primary-address") or {}).values()
                self.is_dual_stack = sum(bool(one.get("alloc-range")) for one in families) == 2
        return True

    async def _learn_services(self) -> bool:
        answer = await fetch(self._socket, "/v1/service")
        if answer is None:
            return False
        found = {}
        for entry in answer:
            front, flags = entry["spec"]["frontend-address"], entry["spec"]["flags"]
            key = (front["ip"], front["port"], PROTOCOLS.get(front["protocol"].upper(), 0))
            found[key] = f"{flags.get('namespace', '')}/{flags.get('name', '')}"
        self._services = found
        return True

    def _note_workload(self, pod: str, text: str) -> None:
        kind, _, name = text.partition("/")
        if pod and name:
            self._workloads[pod] = ((name, kind),)

    async def _learn_endpoints(self) -> bool:
        answer = await fetch(self._socket, "/v1/endpoint")
        if answer is None:
            return False
        for entry in answer:
            who = entry["status"].get("external-identifiers") or {}
            families = entry["status"].get("networking", {}).get("addressing") or []
            addresses = tuple(address for family in families for address in family.values())
            self._endpoints[entry["id"]] = EndpointName(who.get("pod-name", ""), addresses)
            self._note_workload(who.get("pod-name", ""), entry["status"].get("workload", ""))
        return True

    async def _learn_pods(self) -> bool:
        answer = await fetch(self._socket, "/v1/ip")
        if answer is None:
            return False
        found = {}
        for entry in answer:
            meta = entry.get("metadata") or {}
            if meta.get("name"):
                pod = "/".join(filter(None, (meta.get("namespace", ""), meta["name"])))
                found[entry["cidr"].partition("/")[0]] = (pod, entry["identity"])
                self._note_workload(pod, meta.get("workload", ""))
        self._pods = found
        return True

    async def _learn_identities(self) -> None:
        for entry in await fetch(self._socket, "/v1/identity") or []:
            self._labels[entry["id"]] = tuple(sorted(entry.get("labels") or []))

    async def _learn_provenance(self, number: int) -> None:
        answer = await fetch(self._socket, f"/v1/provenance/{number}")
        if answer is None:
            return
        self._policies[number] = tuple(
            PolicyRef(
                kind=rule["kind"],
                namespace=rule.get("namespace", ""),
                name=rule["name"],
                rule=rule.get("rule"),
                direction=rule.get("direction", ""),
                path=rule.get("path", ""),
                verdict=rule.get("verdict", ""),
                log=rule.get("log", ""),
                place=rule.get("place", ""),
            )
            for rule in answer.get("rules") or []
        )


def _numbers(records: NDArray[np.void], *fields: str) -> set[int]:
    return {int(number) for field in fields for number in np.unique(records[field])}


def _pairs(records: NDArray[np.void], number: str, address: str) -> set[tuple[int, str]]:
    """The pairs of a number and an address that records have."""
    raw = {(int(row[number]), bytes(row[address])) for row in records}
    return {(one, address_text(other)) for one, other in raw}
