"""Who sent and who received, as numbers in columns: a party is resolved once and kept.

An address may change owner; a flow keeps the owner it had. A party that is not named yet
(its pod is younger than our knowledge) gets its name as soon as that is known.
"""

import secrets
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.hubble.columns import halves_of
from cilia.hubble.events import DROP, INVALID_SOURCE, address_text
from cilia.hubble.ports import Names
from cilia.model.identities import CLUSTER_FIRST, CLUSTER_LAST

SIDES = ("source", "destination")
CLUSTER_LABEL = "k8s:io.cilium.k8s.policy.cluster="


class Party(msgspec.Struct, frozen=True):
    """One side of a flow."""

    endpoint: int
    """Its number on this node; 0: elsewhere."""
    identity: int
    address: str
    """Empty where the identity alone says who it is (the world, hosts), or the endpoint does."""
    namespace: str = ""
    pod: str = ""
    labels: tuple[str, ...] = ()
    """Sorted, with their sources."""
    workloads: tuple[tuple[str, str], ...] = ()
    """Name and kind."""

    @property
    def cluster(self) -> str:
        """The cluster that its labels name."""
        found = (label for label in self.labels if label.startswith(CLUSTER_LABEL))
        return next(found, "").removeprefix(CLUSTER_LABEL)

    @property
    def wants_pod(self) -> bool:
        """Whether it is a pod that has no name yet."""
        return bool(self.address) and not self.pod


class Parties:
    """Numbers for parties. They grow with the pods that were seen, not with the flows."""

    def __init__(self) -> None:
        self.rows: list[Party] = []
        """By number."""
        self.version = 0
        """Moves when a party comes or learns its name."""
        self._numbers: dict[int, int] = {}
        self._index: tuple[NDArray[np.uint64], NDArray[np.uint32]] | None = None
        self._fresh: list[NDArray[np.void]] = []
        self._factors = [np.uint64(secrets.randbits(64) | 1) for _ in range(4)]

    def numbers(self, records: NDArray[np.void], side: str) -> NDArray[np.uint32]:
        """The party of each record on one side; shape (n,). No Python per record."""
        keys = self._keys(records, side)
        found, known = self._found(keys)
        if not known.all():
            strangers = np.flatnonzero(~known)
            _, first = np.unique(keys[strangers], return_index=True)
            for at in strangers[first].tolist():
                self._add(int(keys[at]), records[at], side)
                self._fresh.append(records[at : at + 1].copy())
            found, _ = self._found(keys)
        return found

    def take_fresh(self) -> list[NDArray[np.void]]:
        """One record of each party that came since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def join(self, names: Names) -> None:
        """Names what can be named now; an address with a new owner becomes a new party."""
        for key, number in list(self._numbers.items()):
            party = self.rows[number]
            fresh = _described(party, names)
            if fresh == party or (party.pod and not fresh.pod):
                continue
            self.version += 1
            if party.pod and fresh.pod != party.pod:
                self._numbers[key], self._index = len(self.rows), None
                self.rows.append(fresh)
            else:
                self.rows[number] = fresh

    def _found(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """The number of each key, and whether it has one at all."""
        if not self._numbers:
            return np.zeros(len(keys), "u4"), np.zeros(len(keys), bool)
        if self._index is None:
            ordered = np.fromiter(self._numbers, "u8", len(self._numbers))
            numbers = np.fromiter(self._numbers.values(), "u4", len(self._numbers))
            order = np.argsort(ordered)
            self._index = ordered[order], numbers[order]
        ordered, numbers = self._index
        place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
        return numbers[place], ordered[place] == keys

    def _keys(self, records: NDArray[np.void], side: str) -> NDArray[np.uint64]:
        """A number that stands for endpoint, identity and, for pods, address."""
        identity = records[f"{side}_identity"].astype("u8")
        endpoint = records[f"{side}_endpoint"].astype("u8")
        pod = (endpoint != 0) | ((identity >= CLUSTER_FIRST) & (identity <= CLUSTER_LAST))
        if side == "source":
            pod &= ~_are_forged(records)
        halves = halves_of(records[side])
        one, two, three, four = self._factors
        place = np.where(pod, halves[:, 0] * three + halves[:, 1] * four, np.uint64(0))
        return (identity * one + endpoint * two + place).astype(np.uint64)

    def _add(self, key: int, record: np.void, side: str) -> None:
        endpoint, identity = int(record[f"{side}_endpoint"]), int(record[f"{side}_identity"])
        pod = endpoint or CLUSTER_FIRST <= identity <= CLUSTER_LAST
        forged = side == "source" and _are_forged(record)
        address = address_text(bytes(record[side])) if pod and not forged else ""
        self._numbers[key], self._index = len(self.rows), None
        self.rows.append(Party(endpoint, identity, address))
        self.version += 1


def _are_forged(records: NDArray[np.void] | np.void) -> NDArray[np.bool_]:
    """Whose source is made up: a pod could make a party of every address that there is."""
    forged: NDArray[np.bool_] = (records["type"] == DROP) & (records["subtype"] == INVALID_SOURCE)
    return forged


def _described(party: Party, names: Names) -> Party:
    """The party as it is known now."""
    known = names.endpoint(party.endpoint) if party.endpoint else None
    pod = known.pod if known and _is_at(known.addresses, party.address) else ""
    if not known and party.address:
        pod = names.pod_at(party.address, party.identity)
    namespace, _, name = pod.rpartition("/")
    labels = _shown(names.labels(party.identity)) or party.labels
    workloads = tuple(names.workloads(pod)) or party.workloads
    return msgspec.structs.replace(
        party, namespace=namespace, pod=name, labels=labels, workloads=workloads
    )


def _is_at(addresses: tuple[str, ...], address: str) -> bool:
    """Whether an endpoint still has the address; numbers of endpoints are given anew.
    A party without one is whoever has the number now.
    """
    return not addresses or not address or address in addresses


def _shown(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels sorted; of the prefixes that hold an address only the longest."""
    prefixes = [label for label in labels if label.startswith("cidr:")]
    longest = max(prefixes, key=lambda label: int(label.rpartition("/")[2] or 0), default="")
    return tuple(sorted(label for label in labels if label not in prefixes or label == longest))
