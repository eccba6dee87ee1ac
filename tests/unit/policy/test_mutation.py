"""Mutants are decided beside the cluster, exactly as if each had been applied to it."""

import ipaddress
import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.policy.connection import Party
from cilia.policy.contents import Enforcement
from cilia.policy.decision import Decider, Ports
from cilia.policy.trial.cases import Case, Outcome, run_cases
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.manifests import Manifests
from cilia.policy.trial.mutation import mutants, survivors

from .test_decisions import EXAMPLES, OTHERS, Model
from .universe import GROUPS, PODS, PORTS, PROTOCOLS, SERVICE_LISTS, pod, policies, ports_of


class Trial(Cluster):
    """A cluster of pods by chance instead of manifests."""

    def __init__(self, model):
        self.decider = Decider(model.engine)
        self.decider.commit()
        self.manifests = Manifests(policies=dict(model.engine.subjects.policies))
        pods = [Party(str(n), n, n, ports=ports_of(party)) for n, party in model.pods.items()]
        others = [o if isinstance(o, int) else ipaddress.ip_network(o) for o in OTHERS]
        self.parties = [*pods, *(Party(str(other), other) for other in others)]

    def replace(self, policy):
        """Applies a policy instead of the one of its name."""
        self.decider.engine.set_policy(policy)
        self.decider.commit()


def outcomes_of(cluster, draws):
    """Cases that pass: each expects what is decided, and some of them why."""
    pairs = [
        p for p in itertools.permutations(cluster.parties, 2) if p[0].endpoint or p[1].endpoint
    ]
    kinds = [("TCP", port) for port in PORTS] + [("UDP", 79), ("ICMP", 8), ("ICMPv6", 1)]
    for source, destination in draws.sample(pairs, min(8, len(pairs))):
        for protocol, port in draws.sample(kinds, 3):
            ports = Ports(PROTOCOLS[protocol], port)
            found = cluster.judge(source, destination, ports)
            because = draws.choice(["", *(str(rule.policy) for rule in found.rules)])
            case = Case("", "", source, destination, ports, found.allowed, because)
            yield Outcome(case, found)


def is_noticed_when_applied(cluster, mutant, outcomes):
    before = cluster.manifests.policies[mutant.policy.key]
    cluster.replace(mutant.policy)
    again = run_cases(cluster, [outcome.case for outcome in outcomes])
    cluster.replace(before)
    return not all(outcome.passed for outcome in again)


@settings(
    max_examples=max(10, EXAMPLES // 4), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(
    pods=st.lists(PODS, min_size=2, max_size=3),
    found=st.lists(policies(), min_size=1, max_size=4),
    groups=GROUPS,
    services=SERVICE_LISTS,
    mode=st.sampled_from(list(Enforcement)),
    draws=st.randoms(use_true_random=False),
)
def test_the_survivors_are_those_that_no_case_notices_once_applied(
    pods, found, groups, services, mode, draws
):
    model = Model(mode)
    for number, party in enumerate(pods, 1000):
        model.set_pod(number, party)
    model.set_world(groups, services)
    for index, policy in enumerate(found):
        policy["metadata"]["name"] = f"p{index}"
        model.set_policy(policy)
    cluster = Trial(model)
    outcomes = list(outcomes_of(cluster, draws))
    assert all(outcome.passed for outcome in outcomes)
    left, count = survivors(cluster, outcomes)
    again = run_cases(cluster, [outcome.case for outcome in outcomes])
    assert again == outcomes, "the cluster is as it was"
    every = [m for policy in cluster.manifests.policies.values() for m in mutants(policy)]
    assert count == len(every)
    assert left == [m for m in every if not is_noticed_when_applied(cluster, m, outcomes)]


def test_a_rule_for_a_port_that_no_pod_names_is_widened_all_the_same():
    model = Model()
    for number, app in ((1000, "web"), (1001, "db")):
        model.set_pod(number, pod("red", {"app": app}))
    entry = {"toEndpoints": [{"matchLabels": {"app": "db"}}]}
    entry["toPorts"] = [{"ports": [{"port": "http"}]}]
    spec = {"endpointSelector": {"matchLabels": {"app": "web"}}, "egress": [entry]}
    metadata = {"name": "p", "namespace": "red"}
    model.set_policy({"kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec})
    cluster = Trial(model)
    web, db = cluster.parties[:2]
    found = cluster.judge(web, db, Ports(6, 80))
    outcomes = [Outcome(Case("", "", web, db, Ports(6, 80), allow=False, because=""), found)]
    left, count = survivors(cluster, outcomes)
    assert [mutant.change for mutant in left] == ["deleted", "for any peer"]
    assert count == 4
    assert cluster.judge(web, db, Ports(6, 80)) == found
