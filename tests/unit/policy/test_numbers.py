"""A number that grew out of another has the rows that it would have had from nothing."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.model.rules import Direction
from cilia.policy import numbers
from cilia.policy.classes import ClassTable
from cilia.policy.contents import content_of
from cilia.policy.delta import ROW
from cilia.policy.numbers import Content, PolicyNumber, TemplateTable
from cilia.policy.provenance import Provenance
from cilia.policy.verdicts import ALLOW_PRECEDENCE, BASE_BITS, Grant

from .test_decisions import EXAMPLES, Model
from .universe import GROUPS, PODS, SERVICE_LISTS, pod, policies


def rows_from_nothing(engine, endpoint_id):
    """The rows of an endpoint's rules, made without what was there before."""
    content = content_of(engine.rulebook(engine.endpoints[endpoint_id], {}), engine.provenance)
    made = PolicyNumber(engine.assigned[endpoint_id].policy, content, engine.templates)
    made.fill(engine.peers.classes)
    return as_set(made.rows(0))


def as_set(rows):
    rows = rows.copy()
    rows["generation"] = 0
    found = rows.tolist()
    assert len(set(found)) == len(found), "no row twice"
    return set(found)


@settings(
    max_examples=max(15, EXAMPLES // 2), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(
    pods=st.lists(PODS, min_size=1, max_size=3),
    found=st.lists(policies(), min_size=5, max_size=9),
    later=st.lists(
        st.one_of(
            st.tuples(st.integers(0, 11), policies()),
            st.tuples(st.integers(0, 11), st.none()),
            st.tuples(st.integers(1000, 1002), PODS),
            st.tuples(GROUPS, SERVICE_LISTS),
        ),
        max_size=6,
    ),
)
def test_a_number_like_another_is_as_from_nothing(pods, found, later):
    model = Model()
    for number, party in enumerate(pods, 1000):
        model.set_pod(number, party)
    changes = [*enumerate(found), *later]
    for index, change in enumerate(changes):
        match change:
            case (int() as name, None):
                key = next((k for k in model.policies if k.name == f"p{name}"), None)
                if key is not None:
                    del model.policies[key]
                    model.engine.delete_policy(key)
            case (int() as name, {"kind": _} as policy):
                policy["metadata"]["name"] = f"p{name}"
                model.set_policy(policy)
            case (int() as number, party):
                model.set_pod(number, party)
            case (groups, services):
                model.set_world(groups, services)
        if index < len(found) - 1:
            continue
        model.commit()
        for endpoint_id, assignment in model.engine.assigned.items():
            held = model.engine.numbers.numbers[assignment.policy].rows(0)
            assert as_set(held) == rows_from_nothing(model.engine, endpoint_id)


def grant(*needs):
    return Grant(needs, ((0, 0, 0, BASE_BITS),), ALLOW_PRECEDENCE, frozenset(), Direction.INGRESS)


def test_templates_are_bounded_by_the_grants_that_they_hold(monkeypatch):
    monkeypatch.setattr(numbers, "_HELD", 10)
    table = TemplateTable(Provenance())
    three, other, four = (tuple(grant(n) for _ in range(n)) for n in (3, 3, 4))
    first = table.of(three)
    table.of(other)
    assert table.of(three) is first, "8 are held"
    held = table.of(four)
    assert table.of(three) is not first, "they went: 13 would be held"
    assert table.of(four) is held, "9 are held"
    table.clear()
    again = table.of(three)
    table.of(four)
    assert table.of(three) is again, "9 are held since all was forgotten"


def test_a_selector_that_is_in_use_no_more_has_no_classes():
    content = Content((grant(7),), np.zeros(0, dtype=ROW), (True, False))
    made = PolicyNumber(2, content, TemplateTable(Provenance()))
    made.fill(ClassTable())
    assert len(made.rows(0)) == 0


def test_nothing_is_kept_of_identities_that_are_gone():
    model = Model()
    for number in range(1000, 1020):
        model.set_pod(number, pod("red", {"app": "web"}))
        model.commit()
        model.delete_pod(number)
    model.commit()
    assert not model.engine._chosen
