"""Filters written in the Common Expression Language, on the variable `_flow` (flow.Flow).

The library checks an expression against the message's fields when it is compiled and
stops one that iterates too often; a clock stops what is dear nonetheless.

Source:
    https://github.com/google/cel-spec; flow.FlowFilter.Experimental.
"""

import importlib
import math
import re
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from cilia.hubble.filters.cel_limits import complaint
from cilia.hubble.filters.terms import InvalidFilterError, Mask, Scene, Test
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import Rows

FIELD = "experimental.cel_expression"
VARIABLE = "_flow"
STRIDE = 16
"""Rows that are looked at in one go: each must be made a flow first."""
BUDGET_NS = 10_000_000
"""CPU time that so many flows may cost all expressions of a request: for so long everybody
else waits. A usual expression takes 15 to 80 microseconds."""
PLACE = re.compile(r"<input>:(-?\d+):(-?\d+): (.*)")


class Budget:
    """What all expressions of one request may cost together, some flows at a time."""

    def __init__(self) -> None:
        self._seen = self._spent_ns = 0
        self._most_ns = BUDGET_NS

    def begin(self, flows: int = STRIDE) -> None:
        """So many flows begin; those before are forgotten."""
        self._seen = self._spent_ns = 0
        self._most_ns = BUDGET_NS * max(1, math.ceil(flows / STRIDE))

    def spend(self, took_ns: int) -> None:
        """Counts what one expression has cost on one flow.

        Raises:
            InvalidFilterError: It is more than an observer can spare.
        """
        self._seen += 1
        self._spent_ns += took_ns
        if self._spent_ns > self._most_ns:
            milliseconds = self._spent_ns / self._seen / 1e6
            raise InvalidFilterError(
                f"{FIELD}: too dear, {milliseconds:.2f} ms a flow; compare fields instead"
            )


class Expressions:
    """Some expressions, of which one must be true.

    Args:
        texts: Each of type bool; a name as `Verdict.DROPPED` is an enum's.
        budget: What they may cost, with all others of the request.

    Raises:
        InvalidFilterError: One of them cannot be understood; says where.
    """

    def __init__(self, texts: Sequence[str], budget: Budget) -> None:
        self._texts = texts
        self._compiled = [_compile(text) for text in texts]
        self._budget = budget

    def match(self, flow: flow_pb2.Flow) -> bool:
        """Whether one is true of a flow; one that fails on it (no such index) is not.

        Raises:
            InvalidFilterError: They cost more than an observer can spare.
        """
        values = {VARIABLE: flow}
        return any(
            self._is_true(one, text, values)
            for one, text in zip(self._compiled, self._texts, strict=True)
        )

    def _is_true(self, expression: Any, text: str, values: dict[str, Any]) -> bool:
        before = time.thread_time_ns()
        try:
            found = expression.eval(data=values).value() is True
        except RuntimeError as error:
            raise InvalidFilterError(f"{FIELD} {text[:80]!r}: {_reason(str(error))}") from error
        self._budget.spend(time.thread_time_ns() - before)
        return found


def cel_test(test: Test, texts: Sequence[str], scene: Scene, budget: Budget) -> Test:
    """A test for rows that pass another test and match one of some expressions.

    Raises:
        InvalidFilterError: An expression cannot be understood.
    """
    expressions, make = Expressions(texts, budget), scene.flow
    if make is None:
        raise InvalidFilterError(f"{FIELD}: flows are not at hand here; use fields")

    def narrowed(rows: Rows) -> Mask:
        mask = test(rows).copy()
        for at in np.flatnonzero(mask).tolist():
            mask[at] = expressions.match(make(rows.first + at))
        return mask

    return narrowed


@cache
def _language() -> Any:
    """The library, loaded when the first expression comes, and its view of flow.Flow."""
    try:
        cel = importlib.import_module("cel_expr_python.cel")
    except ImportError as error:
        raise InvalidFilterError(
            f"{FIELD}: the package cel-expr-python is not there: {error}"
        ) from error
    types = {VARIABLE: cel.Type(flow_pb2.Flow.DESCRIPTOR.full_name)}
    return cel, cel.NewEnv(variables=types, container=flow_pb2.DESCRIPTOR.package)


def _compile(text: str) -> Any:
    if wrong := complaint(text):
        raise InvalidFilterError(f"{FIELD} {text[:80]!r}: {wrong}")
    cel, language = _language()
    try:
        expression = language.compile(text)
    except RuntimeError as error:
        raise InvalidFilterError(f"{FIELD} {text[:80]!r}: {_reason(str(error))}") from error
    kind = expression.return_type()
    if kind != cel.Type.BOOL:
        raise InvalidFilterError(f"{FIELD} {text[:80]!r}: is of type {kind.name()}, not BOOL")
    return expression


def _reason(error: str) -> str:
    """The library's message on one line, with the place in the expression.

    >>> _reason("INVALID_ARGUMENT: ERROR: <input>:1:7: no such field\\n | _flow.x")
    'line 1, column 7: no such field'
    """
    found = PLACE.search(error)
    if found and int(found[1]) > 0:
        return f"line {found[1]}, column {found[2]}: {found[3]}"
    return found[3] if found else error.partition("\n")[0]
