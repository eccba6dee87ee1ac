"""The account of rules in one file of the node's state folder, replaced as a whole."""

import logging
import os
from pathlib import Path

import msgspec
import numpy as np

from cilia.agent.counters import Baseline
from cilia.agent.rule_hits import Account, Hits, RuleSet
from cilia.model.errors import CiliaError
from cilia.policy.provenance import ProvenanceRule
from cilia.runtime.clock import Clock

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PLACE = np.dtype("<u4")
NS_PER_S = 1_000_000_000


class SavedBaseline(msgspec.Struct, frozen=True):
    """A Baseline as bytes."""

    ids: bytes
    counters: bytes


class SavedHits(msgspec.Struct, frozen=True):
    """An Account, and when that was."""

    boot: str
    moment_ns: int
    """CLOCK_MONOTONIC."""
    now: float
    """Seconds since the epoch."""
    since: float
    rest: Hits
    rules: list[ProvenanceRule]
    totals: list[tuple[int, Hits]]
    """By place in `rules`."""
    numbers: dict[int, bytes]
    """For each the places of its rules: uint32, little end first."""
    connections: SavedBaseline
    denied: SavedBaseline


class HitsFile:
    """The file.

    Args:
        path: Where it is.
        boot: Names this boot of the machine: no counter of the kernel outlives it.
    """

    def __init__(self, path: Path, clock: Clock, boot: str | None = None) -> None:
        self._path = path
        self._clock = clock
        self._boot = BOOT_ID.read_text().strip() if boot is None else boot
        self._written: Account | None = None
        self._places: dict[ProvenanceRule, int] = {}
        self._numbers: dict[int, tuple[RuleSet, bytes]] = {}
        self._gone = 0

    def read(self) -> Account | None:
        """The account in the file; None when there is none, or none that can be read."""
        try:
            saved = msgspec.msgpack.decode(self._path.read_bytes(), type=SavedHits)
            return self._account(saved)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, ValueError, IndexError) as error:
            what = {"path": str(self._path), "error": str(error)}
            log.warning("counts of rules not read: they begin anew", extra=what)
            return None

    def _account(self, saved: SavedHits) -> Account:
        rules = saved.rules
        numbers = {
            n: tuple(rules[at] for at in np.frombuffer(places, PLACE).tolist())
            for n, places in saved.numbers.items()
        }
        if saved.boot == self._boot:
            totals = {rules[at]: hits for at, hits in saved.totals}
            held = _baseline(saved.connections), _baseline(saved.denied)
            return Account(saved.since, totals, saved.rest, numbers, *held)
        passed = int((self._clock.now() - saved.now) * NS_PER_S)
        shift = int(self._clock.monotonic() * NS_PER_S) - passed - saved.moment_ns
        totals = {rules[at]: _moved(hits, shift) for at, hits in saved.totals}
        return Account(saved.since, totals, _moved(saved.rest, shift), numbers)

    def write(self, account: Account) -> None:
        """Replaces the file, unless nothing has moved since it was written.

        Raises:
            CiliaError: The file could not be written; the old one is as it was.
        """
        if self._written is not None and _same(account, self._written):
            return
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.msgpack.encode(self._saved(account)))
            os.replace(fresh, self._path)
        except OSError as error:
            raise CiliaError(f"counts of rules not written to {self._path}: {error}") from error
        self._written = account

    def _saved(self, account: Account) -> SavedHits:
        places = self._places
        self._place(account)
        return SavedHits(
            boot=self._boot,
            moment_ns=int(self._clock.monotonic() * NS_PER_S),
            now=self._clock.now(),
            since=account.since,
            rest=account.rest,
            rules=list(places),
            totals=[(places[rule], hits) for rule, hits in account.totals.items()],
            numbers={number: place for number, (_, place) in self._numbers.items()},
            connections=_bytes(account.connections),
            denied=_bytes(account.denied),
        )

    def _place(self, account: Account) -> None:
        """Gives each rule a place in the file, and keeps it: thousands of rules stay, few come."""
        gone = self._numbers.keys() - account.numbers.keys()
        self._gone += len(gone)
        if self._gone > len(account.numbers):
            # As much as is left: rules that nobody means any more have places among them.
            self._gone = 0
            self._places.clear()
            self._numbers.clear()
        places = self._places
        for rule in account.totals:
            places.setdefault(rule, len(places))
        kept: dict[int, tuple[RuleSet, bytes]] = {}
        for number, rules in account.numbers.items():
            held = self._numbers.get(number)
            if held is None or held[0] is not rules:
                found = [places.setdefault(rule, len(places)) for rule in rules]
                held = rules, np.array(found, PLACE).tobytes()
            kept[number] = held
        self._numbers = kept


def _same(one: Account, other: Account) -> bool:
    return (
        (one.totals, one.rest, one.numbers) == (other.totals, other.rest, other.numbers)
        and _bytes(one.connections) == _bytes(other.connections)
        and _bytes(one.denied) == _bytes(other.denied)
    )


def _bytes(baseline: Baseline) -> SavedBaseline:
    return SavedBaseline(baseline.ids.tobytes(), baseline.counters.tobytes())


def _baseline(saved: SavedBaseline) -> Baseline:
    counters = np.frombuffer(saved.counters, np.uint64).reshape(-1, 2)
    ids = np.frombuffer(saved.ids, np.uint64)
    if len(ids) != len(counters):
        raise ValueError("ids and counters differ in number")
    return Baseline(ids, counters)


def _moved(hits: Hits, shift_ns: int) -> Hits:
    """The same hits by the clock of this boot."""
    if not hits.last_ns:
        return hits
    return msgspec.structs.replace(hits, last_ns=hits.last_ns + shift_ns)
