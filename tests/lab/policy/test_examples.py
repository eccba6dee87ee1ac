"""The examples of the public documentation, retold: applied by kubectl, they do what they say.

Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/ and
https://docs.cilium.io/en/stable/security/policy/
"""

from pathlib import Path

import pytest

from lab.policy.cluster import API, Cluster, documents_of
from lab.policy.truth import PING, TCP, UDP, Expectation, allow, deny
from lab.running_lab import wait_for

FOLDER = Path(__file__).parent / "examples"
IN, OUT = deny("*", "x/a"), deny("x/a", "*")
TRUTH: dict[str, tuple[Expectation, ...]] = {
    "k8s-database": (
        IN,
        allow("y/*", "x/a", port=80, protocol=TCP),
        allow("x/b", "x/a", port=80, protocol=TCP),
        allow("world/cloudflare", "x/a", port=80, protocol=TCP, family=4),
        OUT,
        allow("x/a", "world/google", port=81, protocol=TCP, family=4),
    ),
    "k8s-access-by-label": (IN, allow("x/b", "x/a")),
    "k8s-namespace-and-pod": (deny("*", "x/*"), allow("y/b", "x/*")),
    "k8s-namespace-or-pod": (deny("*", "x/*"), allow("y/*", "x/*"), allow("x/b", "x/*")),
    "k8s-default-deny-ingress": (deny("*", "x/*"),),
    "k8s-default-deny-egress": (deny("x/*", "*"),),
    "k8s-default-deny-all": (deny("*", "x/*"), deny("x/*", "*")),
    "k8s-closed-in-open-out": (deny("*", "x/*"),),
    "k8s-allow-all-ingress": (),
    "k8s-allow-all-egress": (),
    "k8s-port-range": (OUT, allow("x/a", "world/cloudflare", port=82, protocol=TCP, family=4)),
    "k8s-several-namespaces": (deny("x/*", "*"), allow("x/*", "[xy]/*")),
    "k8s-namespace-by-name": (deny("*", "x/*"), allow("z/*", "x/*")),
    "k8s-dns-only": (deny("x/*", "*"),),
    "l3-ingress": (IN, allow("x/b", "x/a")),
    "l3-egress": (OUT, allow("x/a", "x/b")),
    "l3-allow-namespace-ingress": (IN, allow("x/*", "x/a")),
    "l3-allow-namespace-egress": (OUT, allow("x/a", "x/*")),
    "l3-default-deny-ingress": (IN,),
    "l3-default-deny-egress": (OUT,),
    "l3-expressions-and": (IN, allow("x/b", "x/a")),
    "l3-expressions-or": (IN, allow("y/*", "x/a"), allow("z/b", "x/a")),
    "l3-service": (OUT, allow("x/a", "y/b")),
    "l3-service-by-label": (OUT, allow("x/a", "y/b"), allow("x/a", "z/c")),
    "l3-from-init": (IN,),
    "l3-from-ingress": (IN,),
    "l3-ingress-lockdown": (),
    "l3-log": (IN, allow("x/b", "x/a")),
    "l3-entity-host": (OUT, allow("x/a", "host/node-1")),
    "l3-entity-nodes": (IN, allow("host/*", "x/a")),
    "l3-entity-world": (IN, allow("world/*", "x/a")),
    "l3-entity-api-server": (OUT, allow("x/a", API)),
    "l3-cidr": (
        OUT,
        allow("x/a", "world/google", family=4),
        allow("x/a", "world/sibling", family=4),
    ),
    "l3-cidr-group": (
        IN,
        deny("*", "y/a"),
        allow("world/google", "[xy]/a"),
    ),
    "l3-namespace-isolated": (
        deny("*", "[xz]/*"),
        allow("x/*", "x/*"),
        allow("z/*", "z/*"),
    ),
    "l3-other-namespace": (IN, allow("z/b", "x/a")),
    "l3-namespace-labels": (IN, allow("y/*", "x/a")),
    "l3-service-account": (IN, allow("x/c", "x/a")),
    "l3-own-cluster": (IN, allow("y/*", "x/a")),
    "l3-kube-dns": (deny("[xyz]/*", "*"),),
    "l3-clusterwide": (deny("*", "?/a"), allow("?/b", "?/a", port=80, protocol=TCP)),
    "l3-clusterwide-any-pod": (deny("*", "?/a"), allow("?/*", "?/a")),
    "l3-health": (),
    "l4-init": (),
    "l4-port": (OUT, allow("x/a", "*", port=80, protocol=TCP)),
    "l4-port-range": (
        OUT,
        allow("x/a", "*", port=80, protocol=TCP),
        allow("x/a", "*", port=81, protocol=TCP),
    ),
    "l4-labels-and-port": (IN, allow("x/b", "x/a", port=80, protocol=TCP)),
    "l4-cidr-and-port": (
        OUT,
        allow("x/a", "world/cloudflare", port=81, protocol=TCP, family=4),
        allow("x/a", "world/sibling", port=81, protocol=TCP, family=4),
    ),
    "l4-several-rules": (
        IN,
        allow("x/b", "x/a"),
        deny("x/c", "*"),
        allow("x/c", "*", port=81, protocol=UDP),
        deny("x/c", "x/a"),
    ),
    "l4-icmp": (OUT, allow("x/a", "*", protocol=PING)),
    "deny-ingress": (deny("x/b", "x/a"),),
    "deny-egress": (
        deny("x/a", "x/b", port=80, protocol=UDP),
        deny("x/a", "world/cloudflare", family=4),
    ),
    "deny-world": (deny("world/*", "x/a"),),
    "deny-clusterwide": (deny("*", "?/a", port=81),),
    "no-default-deny": (),
    "entities-all": (),
}
"""What each example leaves reachable."""


def test_every_example_has_its_truth() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(TRUTH)


@pytest.mark.parametrize("name", TRUTH)
def test_example(cluster: Cluster, name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    documents = documents_of(path.read_text())
    try:
        done = cluster.running.kubectl("apply", "-f", str(path))
        assert done.returncode == 0, done.stderr
        cluster.wait_in_force(cluster.read(document) for document in documents)
        if any(document["kind"] == "Service" for document in documents):
            wait_for_services(cluster, TRUTH[name])
        cluster.check(*TRUTH[name])
    finally:
        for document in documents:
            cluster.delete(document)
        cluster.wait_gone(documents)


def wait_for_services(cluster: Cluster, expected: tuple[Expectation, ...]) -> None:
    """Waits until a policy knows the services that came with it: its openings are open."""
    opened = [e for e in expected if e.allowed]
    asked = [flow for flow in cluster.everything if any(e.is_about(flow) for e in opened)]
    wait_for("what services lead to is open", lambda: cluster.passes(asked))
