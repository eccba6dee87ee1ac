"""Expressions in CEL against the same conditions in Python, and against hostile ones."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.filters import (
    InvalidFilterError,
    Scene,
    cel,
    compile_filters,
    compile_message_filters,
)
from cilia.hubble.filters.cel import STRIDE, Budget, Expressions
from cilia.hubble.filters.cel_limits import LONGEST, complaint
from cilia.hubble.flows import FlowMaker
from cilia.hubble.proto.flow import flow_pb2
from unit.hubble.made_records import KnownNames
from unit.hubble.test_filters import FLOW, NODE, STORE

Flow = flow_pb2.Flow
SCENE = Scene(STORE, NODE, flow=FlowMaker(STORE, KnownNames(), NODE, "0").flow)

SAME: dict[str, Callable[[Flow], bool]] = {
    "true": lambda flow: True,
    "_flow.verdict == Verdict.DROPPED": lambda flow: flow.verdict == 2,
    "_flow.l4.TCP.destination_port == 80u": lambda flow: flow.l4.TCP.destination_port == 80,
    "has(_flow.l4.UDP) || has(_flow.l4.SCTP)": lambda flow: (
        flow.l4.WhichOneof("protocol") in ("UDP", "SCTP")
    ),
    "_flow.source.labels.exists(l, l.startsWith('k8s:org='))": lambda flow: any(
        label.startswith("k8s:org=") for label in flow.source.labels
    ),
    "_flow.source.labels.all(l, !l.matches('^any:'))": lambda flow: (
        not any(label.startswith("any:") for label in flow.source.labels)
    ),
    "_flow.source.pod_name in ['xwing', 'far'] && !(_flow.IP.source.contains(':'))": lambda flow: (
        flow.source.pod_name in ("xwing", "far") and ":" not in flow.IP.source
    ),
    "_flow.source.identity > _flow.destination.identity": lambda flow: (
        flow.source.identity > flow.destination.identity
    ),
    "has(_flow.is_reply) && _flow.is_reply": lambda flow: flow.is_reply.value,
    "_flow.source.labels[1] == 'k8s:org=empire'": lambda flow: (  # no such index: no match
        flow.source.labels[1:2] == ["k8s:org=empire"]
    ),
    "_flow.policy_log.size() > 0 ? _flow.policy_log[0] == 'why' : false": lambda flow: (
        flow.policy_log[:1] == ["why"]
    ),
    "_flow.time > timestamp('1970-01-01T00:00:00.000000500Z')": lambda flow: flow.time.nanos > 500,
}


def with_cel(*texts: str, **more: object) -> flow_pb2.FlowFilter:
    made = flow_pb2.FlowFilter(**more)  # type: ignore[arg-type]  # fields by name
    made.experimental.cel_expression.extend(texts)
    return made


def passing(allow: list[flow_pb2.FlowFilter], deny: list[flow_pb2.FlowFilter]) -> list[int]:
    test = compile_filters(allow, deny, SCENE)
    assert test.stride == STRIDE
    return [
        rows.first + int(at)
        for start in range(0, STORE.total, STRIDE)
        for rows in STORE.pieces(start, start + STRIDE)
        for at in np.flatnonzero(test(rows))
    ]


@pytest.mark.parametrize("text", SAME)
def test_an_expression_says_what_python_says(text: str) -> None:
    expected = [number for number, flow in enumerate(FLOW) if SAME[text](flow)]
    assert expected
    assert passing([with_cel(text)], []) == expected
    matches = compile_message_filters([with_cel(text)], [])
    assert [number for number, flow in enumerate(FLOW) if matches(flow)] == expected


expressions = st.lists(st.sampled_from(sorted(SAME)), min_size=1, max_size=3)


@settings(max_examples=4, deadline=None)
@given(allow=expressions, deny=expressions, verdict=st.sampled_from([1, 2]))
def test_expressions_and_fields_together(allow: list[str], deny: list[str], verdict: int) -> None:
    wanted, unwanted = with_cel(*allow, verdict=[verdict]), with_cel(*deny, reply=[False])
    test = compile_message_filters([flow_pb2.FlowFilter(reply=[False])], [])
    expected = [
        number
        for number, flow in enumerate(FLOW)
        if flow.verdict == verdict
        and any(SAME[text](flow) for text in allow)
        and not (test(flow) and any(SAME[text](flow) for text in deny))
    ]
    assert passing([wanted], [unwanted]) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1, column 1"),
        ("1 +", "line 1, column 4"),
        ("_flow.nope == 1", "undefined field 'nope'"),
        ("_flow.source.identity == 'x'", "no matching overload"),
        ("flow.verdict == 1", "undeclared reference"),
        ("_flow.verdict", "of type INT, not BOOL"),
        ("true\0", "line 1, column 5"),
        ("true" + " " * LONGEST, "1024 are allowed"),
        ("(" * 200 + "true" + ")" * 200, "recursion limit"),
        ("'a'.matches('a' + 'b')", "literal pattern"),
        ("matches('a', 'b')", "literal pattern"),
        ("'a'.matches('a{2}')", "may not hold"),
        (r"'a'.matches('a\x7b2}')", "may not hold"),
        (f"'a'.matches('{'a' * 200}')", "128 are allowed"),
        ("[1].all(a, [1].all(b, 'a'.matches('a')))", "loop within a loop"),
        ("_flow.`matches`", "backquotes"),
    ],
)
def test_an_expression_that_makes_no_sense_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidFilterError) as refused:
        compile_filters([with_cel(text)], [], SCENE)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "'matches(x)' == 'it.matches(y)'",
        'r"\\d".size() == 2 && _flow.Summary.matches(r"^TCP") // .matches(',
        "'''it's''' == \"it's\"",
        "[1].all(a, 'a'.matches('a')) && [1].all(b, 'b'.matches('b'))",
    ],
)
def test_what_only_looks_like_a_pattern_is_taken(text: str) -> None:
    assert complaint(text) == ""
    Expressions([text], Budget()).match(Flow())


SLOW = "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)[^a]a......................................$"
LIST = "[" + ",".join("1" * 1 for _ in range(300)) + "]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("_l.all(a, _l.all(b, a + b > 0))".replace("_l", LIST[:400] + "]"), "Iteration budget"),
        (f"{LIST}.all(a, !_flow.Summary.matches('{SLOW}'))", "too dear"),
    ],
)
def test_a_dear_expression_is_stopped(text: str, says: str) -> None:
    expressions, flow = Expressions([text], Budget()), Flow(Summary="a" * 300)
    with pytest.raises(InvalidFilterError, match=says):
        any(not expressions.match(flow) for _ in range(64))


def test_all_expressions_of_a_request_have_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each evaluation takes half a millisecond by this clock; a stride may take 5 ms."""
    ticks = itertools.count(step=500_000)
    monkeypatch.setattr(cel.time, "thread_time_ns", lambda: next(ticks))
    flow, rows = Flow(), next(SCENE.store.pieces(0, 1))

    def tests(count: int) -> list[flow_pb2.FlowFilter]:
        return [with_cel("false") for _ in range(count)]

    monkeypatch.setattr(cel, "BUDGET_NS", 5_000_000)
    fine = compile_filters(tests(5), tests(5), SCENE)
    assert not fine(rows).any()
    assert not fine(rows).any(), "the next rows have a budget of their own"
    assert not compile_message_filters(tests(10), [])(flow)
    with pytest.raises(InvalidFilterError, match="too dear"):
        compile_filters(tests(6), tests(5), SCENE)(rows)
    with pytest.raises(InvalidFilterError, match="too dear"):
        compile_message_filters(tests(11), [])(flow)


def test_more_rows_than_a_stride_may_cost_more() -> None:
    budget = Budget()
    budget.begin(2 * STRIDE)
    budget.spend(2 * cel.BUDGET_NS)
    budget.begin(1)
    with pytest.raises(InvalidFilterError, match="too dear"):
        budget.spend(2 * cel.BUDGET_NS)


def test_where_flows_are_not_at_hand_it_is_refused() -> None:
    with pytest.raises(InvalidFilterError, match="not at hand"):
        compile_filters([with_cel("true")], [], Scene(STORE, NODE))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="_flow.verdict()[]{}'\"\\ rb=&|!?:,+-<>019a`\n/", max_size=30))
def test_hostile_text_is_an_expression_or_refused(text: str) -> None:
    try:
        Expressions([text], Budget()).match(Flow())
    except InvalidFilterError:
        return
