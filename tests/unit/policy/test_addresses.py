"""CIDR rules that match pods and nodes by choice, nodes by label, and nodes with one family."""

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.model.labels import node_labels
from cilia.model.prefixes import prefix_key
from cilia.policy.engine import PolicyEngine
from cilia.policy.facts import is_matched
from cilia.policy.prefix_table import Worlds
from cilia.policy.sources import Context, parse_policy
from cilia.state.ipcache import IpcacheRow

from .oracle import Party, decide
from .test_decisions import EXAMPLES, Model, probes
from .universe import (
    API_IDENTITY,
    CLUSTER,
    GROUPS,
    PODS,
    SERVICE_LISTS,
    api_labels,
    cluster_of,
    labels_of,
    pod,
    policies,
)

INSIDE = ("10.0.0.7", "10.1.2.3", "10.1.2.4", "192.0.2.9", "fd00::7", "fd00:1::9")
LABELS = st.dictionaries(st.sampled_from(["disk", "zone"]), st.sampled_from(["ssd", "a"]))


def node(labels):
    """The party of another node."""
    found = [("node", key, text) for key, text in labels.items()]
    return Party((*found, ("reserved", "remote-node", ""), ("k8s", CLUSTER, "default")))


class Addressed(Model):
    """A cluster whose pods and nodes have addresses that CIDR rules may see."""

    def __init__(self, matches, worlds=None):
        super().__init__()
        self.engine = PolicyEngine(worlds=worlds)
        self.engine.set_identity(API_IDENTITY, api_labels())
        self.matches, self.homes, self.nodes = frozenset(matches), {}, {}

    def set_node(self, number, party):
        self.nodes[number] = party
        self.engine.set_identity(number, labels_of(party))

    def set_address(self, address, identity):
        """A row of the ipcache, as the service tells it to the engine."""
        self.homes[address] = identity
        source = "node" if identity in self.nodes else "local"
        key = prefix_key(ipaddress.ip_network(address))
        if is_matched(IpcacheRow(key, identity, source=source), self.matches):
            self.engine.set_address(key, identity)
        else:
            self.engine.delete_address(key)

    def delete_address(self, address):
        del self.homes[address]
        self.engine.delete_address(prefix_key(ipaddress.ip_network(address)))

    def set_policy(self, policy):
        parsed = parse_policy(policy, Context(nodes_by_label=True))
        self.policies[parsed.key] = policy
        self.engine.set_policy(parsed)

    def peers(self):
        known = self.pods | self.nodes
        homes = {(a, i): replace(known[i], inner=a) for a, i in self.homes.items() if i in known}
        return super().peers() | self.nodes | homes

    def expected(self, subject, direction, peer, protocol, port):
        cluster = cluster_of(self.groups, self.services)
        cluster.cidr_matches = self.matches
        way = ("ingress", "egress")[direction]
        found = self.peers()[peer]
        return decide(
            self.policies.values(), cluster, self.pods[subject], way, found, protocol, port
        )


@st.composite
def with_nodes(draw):
    """A policy, some of whose entries are about nodes."""
    policy = draw(policies())
    for spec in [policy["spec"]] if "spec" in policy else policy["specs"]:
        for name in ("ingress", "ingressDeny", "egress", "egressDeny"):
            head = "from" if name.startswith("in") else "to"
            if policy["kind"] != "NetworkPolicy" and name in spec and draw(st.booleans()):
                chosen = {"matchLabels": draw(LABELS)}
                spec[name] = [*spec[name], {f"{head}Nodes": [chosen]}]
    return policy


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    pods=st.lists(PODS, min_size=1, max_size=3),
    nodes=st.lists(LABELS.map(node), min_size=1, max_size=2),
    found=st.lists(with_nodes(), min_size=1, max_size=4),
    groups=GROUPS,
    services=SERVICE_LISTS,
    matches=st.sets(st.sampled_from(["nodes", "pods"])),
    draws=st.randoms(use_true_random=False),
)
def test_addresses_and_nodes_are_judged_as_specified(
    pods, nodes, found, groups, services, matches, draws
):
    model = Addressed(matches)
    for number, party in enumerate(pods, 1000):
        model.set_pod(number, party)
    for number, party in enumerate(nodes, 0x02000001):
        model.set_node(number, party)
    model.set_world(groups, services)
    numbers = [*model.pods, *model.nodes]
    for address in INSIDE:
        model.set_address(address, draws.choice(numbers))
    for index, policy in enumerate(found):
        policy["metadata"]["name"] = f"p{index}"
        model.set_policy(policy)
        model.commit()
        check(model, draws)
    model.delete_address(draws.choice(INSIDE))
    moved = draws.choice(sorted(model.homes))
    model.set_address(moved, draws.choice(numbers))
    gone = draws.choice(sorted(model.pods))
    model.set_node(0x02000001, node({"disk": draws.choice(["ssd", "a"])}))
    model.commit()
    check(model, draws)
    for address, identity in list(model.homes.items()):
        if identity == gone:
            model.delete_address(address)
    model.delete_pod(gone)
    for key in list(model.policies)[1:]:
        del model.policies[key]
        model.engine.delete_policy(key)
    model.commit()
    check(model, draws)
    held = {identity for identity, _ in model.kernel.addresses.values()}
    assert held <= set(model.homes.values())


def check(model, draws):
    pairs = model.pairs()
    for probe in probes(draws.sample(pairs, min(25, len(pairs)))):
        assert model.answer(*probe) == model.expected(*probe), probe


IPBLOCK = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "block", "namespace": "red"},
    "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}]},
}


@pytest.mark.parametrize(
    ("matches", "verdict"), [([], "default-deny"), (["nodes"], "default-deny"), (["pods"], "allow")]
)
def test_an_ip_block_matches_a_pod_where_that_is_chosen(matches, verdict):
    model = Addressed(matches)
    model.set_pod(1000, pod("red", {"app": "web"}))
    model.set_pod(1001, pod("blue", {"app": "db"}))
    model.set_address("10.1.2.3", 1001)
    model.set_address("10.1.2.4", 1001)
    model.set_policy(IPBLOCK)
    model.commit()
    assert model.answer(1000, 0, ("10.1.2.3", 1001), "TCP", 80) == verdict
    assert model.answer(1000, 0, ("10.1.2.4", 1001), "TCP", 80) == "default-deny"
    assert model.answer(1000, 0, ("10.1.2.3", 1000), "TCP", 80) == "default-deny"


@pytest.mark.parametrize(
    ("worlds", "prefix", "verdict"),
    [
        (Worlds(v6=False), "0.0.0.0/0", "allow"),
        (Worlds(v6=False), "::/0", "default-deny"),
        (Worlds(v4=False), "::/0", "allow"),
        (Worlds(v4=False), "0.0.0.0/0", "default-deny"),
        (Worlds(), "0.0.0.0/0", "default-deny"),
    ],
)
def test_one_family_has_one_world(worlds, prefix, verdict):
    model = Addressed([], worlds)
    model.set_pod(1000, pod("red", {"app": "web"}))
    document = {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "red"},
        "spec": {"endpointSelector": {}, "ingress": [{"fromCIDR": [prefix]}]},
    }
    model.set_policy(document)
    model.commit()
    assert model.answer(1000, 0, 2, "TCP", 80) == verdict


def test_the_labels_of_a_node_are_those_that_rules_ask_for():
    party = node({"disk": "ssd"})
    assert labels_of(party) == node_labels({"disk": "ssd"}, "default")
