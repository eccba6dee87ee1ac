"""The engine's rows, read as the kernel reads them, decide what the specification says."""

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.policy.contents import Enforcement
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.sources import parse_policy

from .kernel import Kernel
from .oracle import decide
from .universe import (
    ADDRESSES,
    API_ADDRESS,
    API_IDENTITY,
    GROUPS,
    PODS,
    PORTS,
    PROTOCOLS,
    SERVICE_LISTS,
    api_labels,
    api_server,
    cluster_of,
    engine_groups,
    engine_services,
    labels_of,
    outside,
    pod,
    policies,
    ports_of,
    reserved,
)

LONG = bool(os.environ.get("CILIA_LONG_TESTS"))
EXAMPLES = int(os.environ.get("CILIA_POLICY_EXAMPLES") or (200 if LONG else 40))
"""Each asks 780 questions: 31,200 in CI, 156,000 in `make test-long`."""
RESERVED = (1, 4, 5, 6, 7)

OTHERS = {number: reserved(number) for number in RESERVED}
OTHERS |= {address: outside(address) for address in ADDRESSES}
OTHERS |= {API_IDENTITY: api_server()}


class Model:
    """A cluster both ways: for the oracle and for the engine."""

    def __init__(self, mode="default", hints=None):
        self.engine = PolicyEngine(Enforcement(mode), hints)
        self.kernel = Kernel()
        self.pods = {}
        self.policies = {}
        self.groups, self.services, self.mode = {}, [], mode
        self.engine.set_identity(API_IDENTITY, api_labels())

    def set_pod(self, number, party):
        self.pods[number] = party
        self.engine.set_identity(number, labels_of(party), ports_of(party))
        self.engine.set_endpoint(number, Endpoint(number, ports_of(party)))

    def delete_pod(self, number):
        del self.pods[number]
        self.engine.delete_endpoint(number)
        self.engine.delete_identity(number)
        self.kernel.endpoints.pop(number, None)

    def set_policy(self, policy):
        parsed = parse_policy(policy)
        self.policies[parsed.key] = policy
        self.engine.set_policy(parsed)

    def set_world(self, groups, services):
        self.groups, self.services = groups, services
        self.engine.set_cidr_groups(engine_groups(groups))
        self.engine.set_services(engine_services(services))

    def commit(self):
        for step in self.engine.commit().steps:
            self.kernel.do(step)

    def peers(self):
        """Peer as the kernel sees it -> party."""
        return self.pods | OTHERS

    def pairs(self):
        """Every (subject, direction, peer)."""
        return [(s, d, peer) for s in self.pods for d in (0, 1) for peer in self.peers()]

    def answer(self, subject, direction, peer, protocol, port):
        return self.kernel.judge(subject, direction, peer, PROTOCOLS[protocol], port)[0]

    def expected(self, subject, direction, peer, protocol, port):
        return decide(
            self.policies.values(),
            cluster_of(self.groups, self.services, self.mode),
            self.pods[subject],
            ("ingress", "egress")[direction],
            self.peers()[peer],
            protocol,
            port,
        )


def probes(pairs):
    """The questions worth asking about (subject, direction, peer)."""
    kinds = [("TCP", port) for port in PORTS] + [("UDP", 79), ("UDP", 80), ("SCTP", 80)]
    kinds += [("ICMP", 8), ("ICMP", 1), ("ICMPv6", 1)]
    return [(*pair, *kind) for pair in pairs for kind in kinds]


def test_the_api_address_lies_in_the_prefixes_that_rules_name():
    assert API_ADDRESS.startswith("10.1.2.")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pods=st.lists(PODS, min_size=2, max_size=4),
    found=st.lists(policies(), min_size=1, max_size=5),
    groups=GROUPS,
    services=SERVICE_LISTS,
    mode=st.sampled_from(["default", "default", "default", "always", "never"]),
    draws=st.randoms(use_true_random=False),
)
def test_engine_and_specification_agree(pods, found, groups, services, mode, draws):
    model = Model(mode)
    for number, party in enumerate(pods, 1000):
        model.set_pod(number, party)
    model.set_world(groups, services)
    for index, policy in enumerate(found):
        policy["metadata"]["name"] = f"p{index}"
        model.set_policy(policy)
    model.commit()
    for probe in probes(draws.sample(model.pairs(), min(60, len(model.pairs())))):
        assert model.answer(*probe) == model.expected(*probe), probe


def test_a_pod_that_nothing_selects_is_open():
    model = Model()
    model.set_pod(1000, pod("red", {"app": "web"}))
    model.commit()
    assert model.answer(1000, 0, "192.0.2.9", "TCP", 80) == "allow"
