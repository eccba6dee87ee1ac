"""Deltas to the kernel: each step in order, and closed where one cannot be done."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.model.errors import CiliaError
from cilia.model.identities import are_of_rules
from cilia.policy.delta import (
    ALLOW,
    CLOSED,
    MEMBER,
    PREFIX,
    ROW,
    Assign,
    Assignment,
    ClassifyAddresses,
    DeleteRows,
    Delta,
    ForgetMembers,
    MoveMembers,
    RemovePrefixes,
    Rows,
    Step,
    WritePrefixes,
    WriteRows,
    members_of,
    prefixes_of,
    rows_of,
)
from cilia.policy.hints import Hints
from cilia.policy.ports import EndpointRows, RowMap, RulePrefixes
from cilia.policy.takeover import Held

log = logging.getLogger(__name__)

_KEY_FIELDS = ("policy", "class", "direction", "protocol", "port", "prefixlen")
_VALUE_FIELDS = ("precedence", "provenance", "generation", "verdict", "prefixlen")
_PUT_AT_ONCE = 65536


class PolicySync:
    """Keeps the kernel in step with the engine.

    When a step fails, whatever endpoint was to be switched is closed both ways, all
    others keep what they have, and the next `apply` is to bring the whole state.

    Attributes:
        error: Why the kernel is not in step; empty when it is.
        realized: What each endpoint's row says now.
    """

    def __init__(
        self, rows: RowMap, classes: RowMap, prefixes: RulePrefixes, endpoints: EndpointRows
    ) -> None:
        self.error = ""
        self.realized: dict[int, Assignment] = {}
        self._rows = rows
        self._classes = classes
        self._rule_prefixes = prefixes
        self._endpoints = endpoints
        self._prefixes: Rows = np.zeros(0, dtype=PREFIX)

    def observed(self, hints: Hints) -> Hints:
        """Hints that are sure not to give a number that the kernel still uses."""
        keys, values = self._rows.entries()
        classes = self._classes.entries()[1]
        return hints.beyond(
            policy=max(_greatest(keys["policy"]), *self._endpoints.policy_numbers(), 0),
            policy_class=max(
                map(_greatest, (keys["class"], classes, self._rule_prefixes.held()[2]))
            ),
            provenance=_greatest(values["provenance"]),
            revision=_greatest(values["generation"]),
        )

    def held(self) -> Held:
        """What the kernel holds, whoever wrote it."""
        keys, values = self._rows.entries()
        rows = np.zeros(len(keys), dtype=ROW)
        for field in _KEY_FIELDS:
            rows[field] = keys[field]
        for field in ("precedence", "provenance", "generation", "verdict"):
            rows[field] = values[field]
        identities, classes = self._classes.entries()
        members = np.zeros(len(identities), dtype=MEMBER)
        members["identity"], members["class"] = identities, classes
        found = self._rule_prefixes.held()
        prefixes = np.zeros(len(found[0]), dtype=PREFIX)
        prefixes["key"], prefixes["identity"], prefixes["class"] = found
        # What addresses of nodes and pods have is told anew, beside the rules' own prefixes.
        prefixes["class"][~are_of_rules(prefixes["identity"])] = 0
        return Held(rows, members, prefixes)

    def apply(self, delta: Delta) -> bool:
        """Does the steps; False when one failed: `error` says why."""
        try:
            for step in delta.steps:
                self._do(step)
        except CiliaError as error:
            self.error = str(error)
            log.error("policy not in the kernel", extra={"error": self.error})
            self._close(delta)
            return False
        return True

    def replace(self, state: Delta) -> bool:
        """Makes the kernel hold a whole state and nothing else; False when that fails.

        Rows that no open endpoint uses go first, so that there is room.
        """
        in_use = {a.policy for a in self.realized.values()}
        in_use |= set(np.unique(rows_of(state)["policy"]).tolist())
        try:
            keys, values = self._rows.entries()
            self._drop(keys, values, ~np.isin(keys["policy"], list(in_use)))
            if not self.apply(state):
                return False
            self.prune(state)
        except CiliaError as error:
            self.error = str(error)
            return False
        self.error = ""
        return True

    def prune(self, state: Delta) -> None:
        """Removes what the state does not explain: what an earlier agent left behind."""
        known = {key.tobytes() for key in self._keys(rows_of(state))}
        keys, values = self._rows.entries()
        identities = self._classes.entries()[0]
        self._assign_prefixes(prefixes_of(state))
        stray = np.array([key.tobytes() not in known for key in keys], dtype=np.bool_)
        self._drop(keys, values, stray)
        self._classes.drop(identities[~np.isin(identities, members_of(state)["identity"])])

    def _drop(self, keys: NDArray[Any], values: NDArray[Any], chosen: NDArray[np.bool_]) -> None:
        """Removes some rows: first those that let through, so that what is left denies more."""
        allows = values["verdict"] == ALLOW
        self._rows.drop(keys[chosen & allows])
        self._rows.drop(keys[chosen & ~allows])

    def _do(self, step: Step) -> None:
        match step:
            case WriteRows(rows):
                for start in range(0, len(rows), _PUT_AT_ONCE):
                    part = rows[start : start + _PUT_AT_ONCE]
                    self._rows.put(self._keys(part), self._values(part))
            case DeleteRows(rows):
                self._rows.drop(self._keys(rows))
            case MoveMembers(members):
                self._classes.put(members["identity"].copy(), members["class"].copy())
            case ForgetMembers(identities):
                self._classes.drop(identities)
            case WritePrefixes(prefixes):
                kept = self._prefixes[~np.isin(self._prefixes["key"], prefixes["key"])]
                self._assign_prefixes(np.concatenate([kept, prefixes]))
            case RemovePrefixes(keys):
                self._assign_prefixes(self._prefixes[~np.isin(self._prefixes["key"], keys)])
            case ClassifyAddresses(rows, gone, whole):
                self._rule_prefixes.classify_addresses(
                    rows["key"].copy(),
                    rows["identity"].copy(),
                    rows["class"].copy(),
                    gone=None if whole else gone,
                )
            case Assign(assignments):
                self._assign(assignments)

    def _assign_prefixes(self, prefixes: Rows) -> None:
        self._rule_prefixes.assign_prefixes(
            prefixes["key"].copy(), prefixes["identity"].copy(), prefixes["class"].copy()
        )
        self._prefixes = prefixes

    def _assign(self, assignments: Mapping[int, Assignment]) -> None:
        self._endpoints.assign(assignments)
        self.realized.update(assignments)

    def _close(self, delta: Delta) -> None:
        """Closes the endpoints that a failed delta was to switch, and takes back its rows."""
        closed = Assignment(CLOSED, delta.revision, ingress_enforced=True, egress_enforced=True)
        switched = {
            endpoint: wanted
            for step in delta.steps
            if isinstance(step, Assign)
            for endpoint, wanted in step.assignments.items()
            if not self._is_realized(endpoint, wanted)
        }
        try:
            # What is closed stays as it is: writing it again would be news, and so more work.
            self._assign({one: closed for one in switched if not self._is_closed(one)})
            used = [a.policy for a in self.realized.values()]
            numbers = {wanted.policy for wanted in switched.values()}.difference(used)
            rows = rows_of(delta)
            self._rows.drop(self._keys(rows[np.isin(rows["policy"], list(numbers))]))
        except CiliaError as error:
            self.error = f"{self.error}; closing what it concerns: {error}"

    def _is_realized(self, endpoint: int, wanted: Assignment) -> bool:
        held = self.realized.get(endpoint)
        return held is not None and held.policy == wanted.policy

    def _is_closed(self, endpoint: int) -> bool:
        held = self.realized.get(endpoint)
        return held is not None and (
            (held.policy, held.ingress_enforced, held.egress_enforced) == (CLOSED, True, True)
        )

    def _keys(self, rows: Rows) -> NDArray[Any]:
        return _recast(rows, self._rows.key, _KEY_FIELDS)

    def _values(self, rows: Rows) -> NDArray[Any]:
        return _recast(rows, self._rows.value, _VALUE_FIELDS)


def _recast(rows: Rows, dtype: "np.dtype[Any]", fields: tuple[str, ...]) -> NDArray[Any]:
    result = np.zeros(len(rows), dtype=dtype)
    for field in fields:
        result[field] = rows[field]
    return result


def _greatest(column: NDArray[Any]) -> int:
    return int(column.max()) if len(column) else 0
