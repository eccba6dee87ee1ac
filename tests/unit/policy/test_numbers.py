"""A number that grew out of another has the rows that it would have had from nothing."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.policy.contents import content_of
from cilia.policy.numbers import PolicyNumber

from .test_decisions import EXAMPLES, Model
from .universe import GROUPS, PODS, SERVICE_LISTS, policies


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
