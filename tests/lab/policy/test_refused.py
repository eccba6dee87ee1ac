"""Policies that cannot be enforced: refused whole, said so, and nothing else changes."""

import pytest

from lab.policy.case import cilium_policy, clusterwide_policy
from lab.policy.cluster import Cluster, documents_of
from lab.policy.truth import allow, deny
from lab.running_lab import wait_for

SUBJECT = "endpointSelector: {matchLabels: {pod: a}}"
REFUSED = {
    "HTTP rules": cilium_policy(
        f"{{{SUBJECT}, ingress: [{{toPorts: [{{ports: [{{port: '80', protocol: TCP}}], "
        "rules: {http: [{method: GET}]}}]}]}"
    ),
    "DNS names": cilium_policy(
        f"{{{SUBJECT}, egress: [{{toFQDNs: [{{matchName: kubernetes.io}}]}}]}}"
    ),
    "host policies": clusterwide_policy("{nodeSelector: {}, ingress: [{fromEntities: [cluster]}]}"),
    "two kinds of peers in one rule": cilium_policy(
        f"{{{SUBJECT}, ingress: [{{fromEndpoints: [{{}}], fromEntities: [world]}}]}}"
    ),
}


def condition(cluster: Cluster, text: str) -> dict[str, str]:
    """The condition that the agent has written into the object; empty: none yet."""
    (document,) = documents_of(text)
    found = cluster.read(document)
    conditions = (found.get("status") or {}).get("conditions") or [{}]
    return dict(conditions[0])


@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_policy_says_so_and_changes_nothing(cluster: Cluster, what: str) -> None:
    (document,) = documents_of(REFUSED[what])
    try:
        cluster.create(document)
        wait_for("it is refused", lambda: condition(cluster, REFUSED[what]) != {})
        found = condition(cluster, REFUSED[what])
        assert (found["type"], found["status"]) == ("Valid", "False")
        assert found["message"]
        cluster.check()
    finally:
        cluster.delete(document)
        cluster.wait_gone([document])


def test_the_last_good_state_stays_when_an_update_is_refused(cluster: Cluster) -> None:
    with cluster.policies(cilium_policy(f"{{{SUBJECT}, ingress: [{{fromEndpoints: [{{}}]}}]}}")):
        (document,) = documents_of(REFUSED["HTTP rules"])
        cluster.replace(document)
        wait_for(
            "the update is refused",
            lambda: condition(cluster, REFUSED["HTTP rules"]).get("status") == "False",
        )
        cluster.check(deny("*", "x/a"), allow("x/*", "x/a"))
