"""`RowTable` decides as the tests' own, literal reading of the datapath does."""

import ipaddress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.model.rules import Direction
from cilia.policy.decision import Decider, Ports, Verdict

from .test_decisions import EXAMPLES, Model, probes
from .universe import GROUPS, PODS, PROTOCOLS, SERVICE_LISTS, policies

WORDS = {"closed": {Verdict.UNKNOWN}, "allow": {Verdict.ALLOW, Verdict.NOT_ENFORCED}}


def asked(decider, subject, direction, peer, protocol, port):
    party = peer if isinstance(peer, int) else ipaddress.ip_network(peer)
    return decider.decide(subject, Direction(direction), party, Ports(PROTOCOLS[protocol], port))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pods=st.lists(PODS, min_size=2, max_size=3),
    found=st.lists(policies(), min_size=1, max_size=5),
    groups=GROUPS,
    services=SERVICE_LISTS,
    mode=st.sampled_from(["default", "default", "always", "never"]),
    draws=st.randoms(use_true_random=False),
)
def test_both_readings_agree_through_changes(pods, found, groups, services, mode, draws):
    model = Model(mode)
    decider = Decider(model.engine, allow_node=False)
    for number, party in enumerate(pods, 1000):
        model.set_pod(number, party)
    model.set_world(groups, services)
    for index, policy in enumerate(found):
        policy["metadata"]["name"] = f"p{index % 2}"
        model.set_policy(policy)
        delta = model.engine.commit()
        for step in delta.steps:
            model.kernel.do(step)
        decider.table.apply(delta)
        for probe in probes(draws.sample(model.pairs(), min(10, len(model.pairs())))):
            verdict = asked(decider, *probe).verdict
            word = model.answer(*probe)
            assert verdict in (WORDS.get(word) or {Verdict(word)}), probe
