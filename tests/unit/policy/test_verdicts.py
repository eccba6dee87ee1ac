"""Cases where rows of one class, or of a class and of anyone, meet."""

import pytest

from .test_decisions import Model, probes
from .universe import pod

WEB, DB, OTHER = (pod("red", {"app": "web"}), pod("red", {"app": "db"}), pod("blue", {"app": "db"}))


def policy(name, **spec):
    subject = {"endpointSelector": {"matchLabels": {"app": "web"}}}
    return {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "red"},
        "spec": subject | spec,
    }


def ports(*listed):
    return [{"ports": [{"port": port, "protocol": "TCP"} for port in listed]}]


DB_PODS = [{"matchLabels": {"app": "db"}}]
CASES = {
    "a broad deny beats a narrow allow of the same peer": [
        policy("a", ingressDeny=[{"fromEndpoints": DB_PODS}]),
        policy("b", ingress=[{"fromEndpoints": DB_PODS, "toPorts": ports("80")}]),
    ],
    "a deny range beats an allowed port in it": [
        policy("a", ingressDeny=[
            {"fromEndpoints": DB_PODS,
             "toPorts": [{"ports": [{"port": "64", "endPort": 127, "protocol": "TCP"}]}]}]),
        policy("b", ingress=[{"fromEndpoints": DB_PODS, "toPorts": ports("80", "443")}]),
    ],
    "a narrow deny cuts a hole into a broad allow": [
        policy("a", ingressDeny=[{"fromEndpoints": DB_PODS, "toPorts": ports("80")}]),
        policy("b", ingress=[{"fromEndpoints": DB_PODS}]),
    ],
    "a deny of anyone beats an allow of a peer": [
        policy("a", ingressDeny=[{"toPorts": ports("80")}]),
        policy("b", ingress=[{"fromEndpoints": DB_PODS}]),
    ],
    "a deny of a peer beats an allow of anyone": [
        policy("a", ingressDeny=[{"fromEndpoints": DB_PODS}]),
        policy("b", ingress=[{"toPorts": ports("80")}]),
    ],
    "an empty entry only closes": [policy("a", ingress=[{}])],
    "an empty list of peers only closes": [
        policy("a", ingress=[{"fromEndpoints": [], "toPorts": ports("80")}])
    ],
    "one empty selector is the namespace, not everyone": [
        policy("a", ingress=[{"fromEndpoints": [{}]}])
    ],
    "without default deny all but the denied passes": [
        policy("a", ingressDeny=[{"fromEndpoints": DB_PODS, "toPorts": ports("80")}],
               enableDefaultDeny={"ingress": False}),
    ],
    "an exception is no deny": [
        policy("a", egress=[{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}]),
        policy("b", egress=[{"toCIDR": ["10.1.2.0/24"], "toPorts": ports("443")}]),
    ],
    "an IPv6 prefix over the mapped addresses does not catch IPv4": [
        policy("a", egress=[{"toCIDR": ["::/1"]}]),
    ],
    "the world is what nobody manages": [policy("a", egress=[{"toEntities": ["world"]}])],
    "a whole family": [policy("a", egress=[{"toCIDR": ["0.0.0.0/0"]}])],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rows_that_meet(case):
    model = Model()
    for number, party in enumerate((WEB, DB, OTHER), 1000):
        model.set_pod(number, party)
    for each in CASES[case]:
        model.set_policy(each)
    model.commit()
    for probe in probes(model.pairs()):
        assert model.answer(*probe) == model.expected(*probe), probe


def test_the_walk_names_the_policy_that_closed_the_door():
    model = Model()
    for number, party in enumerate((WEB, DB, OTHER), 1000):
        model.set_pod(number, party)
    model.set_policy(policy("rule1", ingress=[{"fromEndpoints": DB_PODS, "toPorts": ports("80")}]))
    model.commit()
    verdict, provenance = model.kernel.judge(1000, 0, 1002, 6, 80)
    assert verdict == "default-deny"
    (rule,) = model.engine.rules(provenance)
    assert (rule.policy.name, rule.path, rule.verdict) == ("rule1", "spec", "default-deny")
    verdict, provenance = model.kernel.judge(1000, 0, 1001, 6, 80)
    assert verdict == "allow"
    (rule,) = model.engine.rules(provenance)
    assert (rule.path, rule.index, rule.verdict) == ("spec.ingress[0]", 0, "allow")


def test_a_row_names_every_rule_that_allows_it():
    model = Model()
    for number, party in enumerate((WEB, DB, OTHER), 1000):
        model.set_pod(number, party)
    model.set_policy(policy("narrow", ingress=[{"fromEndpoints": DB_PODS, "toPorts": ports("80")}]))
    model.set_policy(policy("broad", ingress=[{"fromEndpoints": DB_PODS}]))
    model.commit()
    _, provenance = model.kernel.judge(1000, 0, 1001, 6, 80)
    assert [rule.policy.name for rule in model.engine.rules(provenance)] == ["broad", "narrow"]
    _, provenance = model.kernel.judge(1000, 0, 1001, 6, 81)
    assert [rule.policy.name for rule in model.engine.rules(provenance)] == ["broad"]
