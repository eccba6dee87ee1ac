"""A restart: whatever the last agent left, whatever has changed meanwhile, never a hole."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.policy.delta import ClassifyAddresses, Delta
from cilia.policy.hints import Hints

from .test_changes import OPERATIONS, answers, check_state, do
from .test_decisions import Model, probes
from .universe import GROUPS, PODS, SERVICE_LISTS, pod, policies

EXAMPLES = int(os.environ.get("CILIA_POLICY_EXAMPLES", "40"))
HINTS = st.sampled_from(["kept", "lost", "stale"])


def world(pods, found, groups, services, hints=None):
    """A cluster whose engine has been told all, and has not committed."""
    model = Model(hints=hints)
    for number, party in pods.items():
        model.set_pod(number, party)
    model.set_world(groups, services)
    for policy in found:
        model.set_policy(policy)
    return model


def restarted(old, which, stale):
    """The same cluster in the engine of the next agent, on the same kernel."""
    hints = {"kept": old.engine.hints(), "lost": Hints(), "stale": stale}[which]
    pods, found = dict(old.pods), list(old.policies.values())
    model = world(pods, found, old.groups, old.services, old.kernel.observed(hints))
    model.kernel = old.kernel
    return model


def parts_of(delta, cuts):
    """The steps of a delta, each in two halves: no batch of rows is one moment.

    Classes of addresses come whole: these clusters have none.
    """
    for step in delta.steps:
        if isinstance(step, ClassifyAddresses):
            yield step
            continue
        (name,) = step.__struct_fields__
        rows = getattr(step, name)
        if isinstance(rows, np.ndarray):
            cut = cuts.randint(0, len(rows))
            yield from (type(step)(rows[:cut]), type(step)(rows[cut:]))
        else:
            items = list(rows.items())
            cut = cuts.randint(0, len(items))
            yield from (type(step)(dict(items[:cut])), type(step)(dict(items[cut:])))


def check(states, asked):
    """Each state decides every question as the first one or as the last one."""
    before, after = states[0], states[-1]
    for state in states:
        for probe in asked:
            ends = {before[probe] == "allow", after[probe] == "allow"}
            assert (state[probe] == "allow") in ends, (probe, before[probe], state[probe])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pods=st.lists(PODS, min_size=2, max_size=4),
    found=st.lists(policies(), min_size=1, max_size=4),
    groups=GROUPS,
    services=SERVICE_LISTS,
    history=st.lists(OPERATIONS, max_size=3),
    meanwhile=st.lists(OPERATIONS, max_size=4),
    which=HINTS,
    crash=st.booleans(),
    draws=st.randoms(use_true_random=False),
)
def test_a_restart_decides_as_before_or_as_after(
    pods, found, groups, services, history, meanwhile, which, crash, draws
):
    for index, policy in enumerate(found):
        policy["metadata"]["name"] = f"p{index}"
    old = world(dict(enumerate(pods, 1000)), found, groups, services)
    old.commit()
    stale = old.engine.hints()
    for operation in history:
        do(old, operation)
        old.commit()
    new = restarted(old, which, stale)
    for operation in meanwhile:
        do(new, operation)
    known = set(old.pods) & set(new.pods)
    pairs = [p for p in new.pairs() if p[0] in known and _stays(p[2], known)]
    asked = probes(draws.sample(pairs, min(12, len(pairs))))
    states = [answers(new, asked)]
    if crash:
        delta = new.engine.take_over(new.kernel.held())
        for step in list(parts_of(delta, draws))[: draws.randint(0, 2 * len(delta.steps))]:
            new.kernel.do(step)
            states.append(answers(new, asked))
        new = restarted(new, draws.choice(["lost", "stale"]), stale)
    for step in parts_of(new.engine.take_over(new.kernel.held()), draws):
        new.kernel.do(step)
        states.append(answers(new, asked))
    check(states, asked)
    for probe in asked:
        assert states[-1][probe] == new.expected(*probe), probe
    check_state(new)
    for operation in history:
        do(new, operation)
        new.commit()
    check_state(new)


def _stays(peer, known):
    return peer in known or not (isinstance(peer, int) and 1000 <= peer < 2000)


def split(delta: Delta):
    """The steps of a delta row by row."""
    for step in delta.steps:
        if isinstance(step, ClassifyAddresses):
            yield step
            continue
        (name,) = step.__struct_fields__
        rows = getattr(step, name)
        if isinstance(rows, np.ndarray):
            yield from (type(step)(rows[i : i + 1]) for i in range(len(rows)))
        else:
            yield step


def spec_of(name, **spec):
    """A policy of namespace red about all its pods."""
    metadata = {"name": name, "namespace": "red"}
    return {
        "kind": "CiliumNetworkPolicy",
        "metadata": metadata,
        "spec": {"endpointSelector": {}, **spec},
    }


DENY_DB = spec_of(
    "d",
    ingress=[{"fromEntities": ["all"]}],
    ingressDeny=[{"fromEndpoints": [{"matchLabels": {"app": "db"}}]}],
)
DENY_NET = spec_of(
    "n", egress=[{"toEntities": ["all"]}], egressDeny=[{"toCIDR": ["10.1.2.0/24", "10.0.0.0/8"]}]
)
WIDER = spec_of("n", egress=[{"toEntities": ["all"]}], egressDeny=[{"toCIDR": ["10.0.0.0/8"]}])
WEB, DB = pod("red", {"app": "web"}), pod("red", {"app": "db"})


def walk(new, *question):
    """What a question is answered row by row on the way, the end included."""
    found = []
    for step in split(new.engine.take_over(new.kernel.held())):
        new.kernel.do(step)
        found.append(new.answer(*question))
    return found


def test_an_endpoint_that_the_new_agent_does_not_know_closes_and_never_opens():
    old = world({1000: WEB, 1001: DB}, [DENY_DB], {}, [])
    old.commit()
    assert old.answer(1000, 0, 1001, "TCP", 80) == "deny"
    new = restarted(old, "lost", Hints())
    new.engine.delete_endpoint(1000)
    found = walk(new, 1000, 0, 1001, "TCP", 80)
    assert "allow" not in found
    assert found[-1] == "closed"


@pytest.mark.parametrize("hints", ["kept", "lost"])
def test_an_identity_that_only_one_side_knows_is_never_let_through_by_anyones_rows(hints):
    old = world({1000: WEB}, [DENY_DB], {}, [])
    old.commit()
    new = restarted(old, hints, Hints())
    new.set_pod(1001, DB)
    assert set(walk(new, 1000, 0, 1001, "TCP", 80)) == {"default-deny", "deny"}
    last = restarted(new, hints, Hints())
    last.delete_pod(1001)
    assert "allow" not in walk(last, 1000, 0, 1001, "TCP", 80)


@pytest.mark.parametrize("hints", ["kept", "lost"])
def test_a_prefix_that_the_rules_name_no_more_goes_after_the_switch(hints):
    old = world({1000: WEB}, [DENY_NET], {}, [])
    old.commit()
    new = restarted(old, hints, Hints())
    new.set_policy(WIDER)
    assert set(walk(new, 1000, 1, "10.1.2.3", "TCP", 80)) == {"deny"}
    again = restarted(new, hints, Hints())
    again.set_policy(DENY_NET)
    assert set(walk(again, 1000, 1, "10.1.2.3", "TCP", 80)) == {"deny"}
