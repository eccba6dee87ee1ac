"""Names for the numbers in records, as the agent knows them."""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.ports import EndpointName, PolicyRef
from cilia.wire.http10 import decode_answer, encode_request

log = logging.getLogger(__name__)

Json = Any

RETRY_S = 1.0
"""How long a number that the agent does not know is not asked for again."""
TIMEOUT_S = 2.0


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
    except (OSError, TimeoutError, ValueError) as error:
        log.debug("agent not reached", extra={"target": target, "error": str(error)})
        return None
    return json.loads(body) if status == 200 else None


class AgentNames:
    """`hubble.ports.Names` from the agent's REST API; remembers what it learned.

    A dead agent costs names of new numbers only: what is known stays.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._endpoints: dict[int, EndpointName] = {}
        self._labels: dict[int, tuple[str, ...]] = {}
        self._policies: dict[int, tuple[PolicyRef, ...]] = {0: ()}
        self._asked: dict[tuple[str, int], float] = {}

    def endpoint(self, number: int) -> EndpointName | None:
        """The endpoint of this node with that number."""
        return self._endpoints.get(number)

    def labels(self, identity: int) -> Sequence[str]:
        """The labels behind an identity, sorted."""
        return self._labels.get(identity, ())

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        """The rules behind a provenance id."""
        return self._policies.get(provenance, ())

    async def learn(self, records: NDArray[np.void]) -> None:
        """Asks the agent for every number in `records` that is not known yet."""
        endpoints = self._unknown("endpoint", records, "source_endpoint", "destination_endpoint")
        identities = self._unknown("identity", records, "source_identity", "destination_identity")
        provenances = self._unknown("provenance", records, "provenance")
        if endpoints - {0}:
            await self._learn_endpoints()
        if identities:
            await self._learn_identities()
        for number in provenances:
            await self._learn_provenance(number)

    def _unknown(self, kind: str, records: NDArray[np.void], *fields: str) -> set[int]:
        known: dict[str, dict[int, Any]] = {
            "endpoint": self._endpoints,
            "identity": self._labels,
            "provenance": self._policies,
        }
        now = time.monotonic()
        seen = {int(n) for field in fields for n in np.unique(records[field])}
        missing = {
            n
            for n in seen
            if n not in known[kind] and now - self._asked.get((kind, n), -RETRY_S) >= RETRY_S
        }
        self._asked.update({(kind, n): now for n in missing})
        return missing

    async def _learn_endpoints(self) -> None:
        for entry in await fetch(self._socket, "/v1/endpoint") or []:
            who = entry["status"].get("external-identifiers") or {}
            self._endpoints[entry["id"]] = EndpointName(pod=who.get("pod-name", ""))

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
            )
            for rule in answer.get("rules") or []
        )
