"""Changes: the same as from nothing, and never a hole on the way."""

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.policy.delta import Assign

from .kernel import Kernel
from .test_decisions import Model, probes
from .universe import GROUPS, PODS, SERVICE_LISTS, pod, policies

EXAMPLES = int(os.environ.get("CILIA_POLICY_EXAMPLES", "25"))

OPERATIONS = st.one_of(
    st.tuples(st.just("policy"), st.sampled_from("abc"), policies()),
    st.tuples(st.just("policy"), st.sampled_from("abc"), policies()),
    st.tuples(st.just("no policy"), st.integers(0, 9)),
    st.tuples(st.just("pod"), st.integers(1000, 1003), PODS),
    st.tuples(st.just("no pod"), st.integers(0, 9)),
    st.tuples(st.just("world"), GROUPS, SERVICE_LISTS),
)


def do(model, operation):
    match operation:
        case ("policy", name, policy):
            policy["metadata"]["name"] = name
            model.set_policy(policy)
        case ("no policy", which) if model.policies:
            key = sorted(model.policies)[which % len(model.policies)]
            del model.policies[key]
            model.engine.delete_policy(key)
        case ("pod", number, party):
            model.set_pod(number, party)
        case ("no pod", which) if model.pods:
            model.delete_pod(sorted(model.pods)[which % len(model.pods)])
        case ("world", groups, services):
            model.set_world(groups, services)


def from_nothing(model):
    """The same cluster, in an engine that never knew another."""
    fresh = Model(model.mode)
    for number, party in model.pods.items():
        fresh.set_pod(number, party)
    fresh.set_world(model.groups, model.services)
    for policy in model.policies.values():
        fresh.set_policy(policy)
    fresh.commit()
    return fresh


def answers(model, asked):
    return {probe: model.answer(*probe) for probe in asked}


def check_no_hole(model, delta, asked, before):
    """Each state on the way decides as the one before the change or the one after it."""
    on_the_way = []
    for step in delta.steps:
        model.kernel.do(step)
        on_the_way.append(answers(model, asked))
    after = on_the_way[-1] if on_the_way else before
    for state in on_the_way:
        for probe in asked:
            ends = {before[probe] == "allow", after[probe] == "allow"}
            assert (state[probe] == "allow") in ends, (probe, before[probe], state[probe])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pods=st.lists(PODS, min_size=2, max_size=4),
    rounds=st.lists(st.lists(OPERATIONS, min_size=1, max_size=3), min_size=2, max_size=7),
    draws=st.randoms(use_true_random=False),
)
def test_any_history_ends_as_from_nothing_without_a_hole(pods, rounds, draws):
    model = Model()
    for number, party in enumerate(pods, 1000):
        model.set_pod(number, party)
    model.commit()
    for operations in rounds:
        parties = dict(model.pods)
        for operation in operations:
            do(model, operation)
        pairs = [pair for pair in model.pairs() if _comparable(pair, parties, model.pods)]
        asked = probes(draws.sample(pairs, min(12, len(pairs))))
        before = answers(model, asked)
        check_no_hole(model, model.engine.commit(), asked, before)
    check_state(model)
    fresh = from_nothing(model)
    for probe in probes(draws.sample(model.pairs(), min(20, len(model.pairs())))):
        assert model.answer(*probe) == fresh.answer(*probe) == model.expected(*probe), probe


def _comparable(pair, before, after):
    """Whether a pair has one state before a round and one after it, and no third between.

    Who came or went has no state on one side. Where both ends are relabelled, one is the
    first: a pod that moves to another namespace may be, for a moment, what its own rules
    do not let it talk to.
    """
    subject, peer = pair[0], pair[2]
    if subject not in before or (_is_pod(peer) and peer not in before):
        return False
    return before[subject] == after[subject] or before.get(peer) == after.get(peer)


def _is_pod(peer):
    return isinstance(peer, int) and 1000 <= peer < 2000


def check_state(model):
    """The kernel holds what the engine believes, and nothing else."""
    whole = Kernel()
    for step in model.engine.state().steps:
        whole.do(step)
    assert model.kernel.rows.keys() == whole.rows.keys()
    assert {k: v[:2] for k, v in model.kernel.rows.items()} == {
        k: v[:2] for k, v in whole.rows.items()
    }
    assert model.kernel.classes == whole.classes
    assert model.kernel.prefixes == whole.prefixes
    assert set(whole.endpoints) == set(model.pods)


DENY_DB = {"fromEndpoints": [{"matchLabels": {"app": "db"}}]}


def open_but_for(*denied):
    """A policy of every pod of red that lets all in but these."""
    spec = {"endpointSelector": {}, "ingress": [{"fromEntities": ["all"]}]}
    spec["ingressDeny"] = list(denied)
    metadata = {"name": "p", "namespace": "red"}
    return {"kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}


def test_peers_are_in_their_new_classes_before_anyone_switches():
    model = Model()
    model.set_pod(1000, pod("red", {"app": "web"}))
    model.set_pod(1001, pod("red", {"app": "db"}))
    model.set_policy(open_but_for())
    model.commit()
    assert model.answer(1000, 0, 1001, "TCP", 80) == "allow"
    model.set_policy(open_but_for(DENY_DB))
    seen = []
    for step in model.engine.commit().steps:
        model.kernel.do(step)
        if isinstance(step, Assign):
            seen.append(model.answer(1000, 0, 1001, "TCP", 80))
    assert seen == ["deny"]


def test_a_prefix_of_a_new_deny_rule_is_in_its_class_before_anyone_switches():
    model = Model()
    model.set_pod(1000, pod("red", {"app": "web"}))
    model.set_policy(open_but_for())
    model.commit()
    model.set_policy(open_but_for({"fromCIDR": ["10.1.2.0/24"]}))
    seen = []
    for step in model.engine.commit().steps:
        model.kernel.do(step)
        if isinstance(step, Assign):
            seen.append(model.answer(1000, 0, "10.1.2.3", "TCP", 80))
    assert seen == ["deny"]
