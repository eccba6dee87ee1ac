"""The selectors in use, as the API shows them."""

from cilia.agent.selector_views import selectors_json
from cilia.model.cidrs import plain_cidr_set
from cilia.model.ports import PortRange
from cilia.model.rules import Direction, Entry, Peers, Policy, PolicyKey, Spec
from cilia.model.selectors import match_labels
from cilia.policy.engine import Endpoint, PolicyEngine


def policy(name: str, *peers: Peers) -> Policy:
    key = PolicyKey("CiliumNetworkPolicy", "default", name)
    ports = (PortRange(6, 80, 80),)
    entries = tuple(
        Entry(Direction.INGRESS, False, f"spec.ingress[{n}]", n, one, ports)
        for n, one in enumerate(peers)
    )
    subject = match_labels({"app": "web"})
    return Policy(key, (Spec(key, "spec", subject, (True, False), (True, False), entries),))


def test_a_selector_shows_its_policies_and_the_identities_that_it_selects() -> None:
    engine = PolicyEngine()
    engine.set_identity(1000, ("k8s:app=web",))
    engine.set_identity(1001, ("k8s:app=client",))
    engine.set_identity(1002, ("k8s:app=client", "k8s:x=y"))
    engine.set_endpoint(1, Endpoint(1000))
    clients = Peers((match_labels({"app": "client"}),))
    prefixes = Peers(cidrs=plain_cidr_set(["20.0.0.0/8", "20.1.0.0/16"]))
    engine.set_policy(policy("one", clients, prefixes))
    engine.set_policy(policy("two", clients))
    engine.commit()
    by_labels, by_prefix = sorted(selectors_json(engine), key=lambda o: "20." in o["selector"])
    assert by_labels["identities"] == [1001, 1002]
    assert by_labels["users"] == 2
    assert "k8s:io.cilium.k8s.policy.name=two" in by_labels["labels"]
    assert by_prefix["selector"] == "20.0.0.0/8, 20.1.0.0/16"
    assert len(by_prefix["identities"]) == 2
    engine.delete_policy(PolicyKey("CiliumNetworkPolicy", "default", "one"))
    engine.delete_policy(PolicyKey("CiliumNetworkPolicy", "default", "two"))
    engine.commit()
    assert selectors_json(engine) == []
