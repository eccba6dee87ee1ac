"""What changes under a policy: the policy, labels of pods and namespaces, open connections."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from lab.policy.case import cilium_policy, network_policy
from lab.policy.cluster import Cluster, documents_of
from lab.policy.sockets import PASSED, STOPPED, Conversations
from lab.policy.truth import TCP, UDP, Expectation, Flow, allow, deny, flows

FROM = "{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [%s]}]}"
FROM_B = network_policy(FROM % "{podSelector: {matchLabels: {pod: b}}}")
FROM_C = network_policy(FROM % "{podSelector: {matchLabels: {pod: c}}}")
FROM_TEAM_Y = network_policy(FROM % "{namespaceSelector: {matchLabels: {team: y}}}")
CLOSED = network_policy("{podSelector: {matchLabels: {pod: a}}}")


def replace(cluster: Cluster, text: str) -> None:
    """Updates a policy and waits until that is in force."""
    (document,) = documents_of(text)
    cluster.wait_in_force([cluster.replace(document)])


def test_a_policy_is_updated(cluster: Cluster) -> None:
    with cluster.policies(FROM_B):
        cluster.check(deny("*", "x/a"), allow("x/b", "x/a"))
        replace(cluster, FROM_C)
        cluster.check(deny("*", "x/a"), allow("x/c", "x/a"))
        replace(cluster, CLOSED)
        cluster.check(deny("*", "x/a"))
        replace(cluster, network_policy("{podSelector: {matchLabels: {pod: c}}}"))
        cluster.check(deny("*", "x/c"))
    cluster.check()


@contextmanager
def pod_labelled(cluster: Cluster, pod: str, value: str) -> Iterator[None]:
    """A pod with another label `pod`, until the block ends."""
    before = pod.split("/")[1]
    cluster.label("Pod", pod, {"pod": value})
    cluster.wait_labelled([pod], f"k8s:pod={value}")
    try:
        yield
    finally:
        cluster.label("Pod", pod, {"pod": before})
        cluster.wait_labelled([pod], f"k8s:pod={before}")


def test_a_peer_is_relabelled(cluster: Cluster) -> None:
    with cluster.policies(FROM_B):
        with pod_labelled(cluster, "x/c", "b"):
            cluster.check(deny("*", "x/a"), allow("x/[bc]", "x/a"))
        cluster.check(deny("*", "x/a"), allow("x/b", "x/a"))
        with pod_labelled(cluster, "x/b", "other"):
            cluster.check(deny("*", "x/a"))


def test_a_subject_is_relabelled(cluster: Cluster) -> None:
    with cluster.policies(FROM_B):
        with pod_labelled(cluster, "x/c", "a"):
            cluster.check(deny("*", "x/[ac]"), allow("x/b", "x/[ac]"))
        with pod_labelled(cluster, "x/a", "other"):
            cluster.check()
        cluster.check(deny("*", "x/a"), allow("x/b", "x/a"))


def test_a_namespace_is_relabelled(cluster: Cluster) -> None:
    label = "k8s:io.cilium.k8s.namespace.labels.team={}"
    pods = [f"z/{name}" for name in "abc"]
    with cluster.policies(FROM_TEAM_Y):
        cluster.check(deny("*", "x/a"), allow("y/*", "x/a"))
        cluster.label("Namespace", "z", {"team": "y"})
        try:
            cluster.wait_labelled(pods, label.format("y"))
            cluster.check(deny("*", "x/a"), allow("[yz]/*", "x/a"))
        finally:
            cluster.label("Namespace", "z", {"team": "z"})
            cluster.wait_labelled(pods, label.format("z"))
        cluster.check(deny("*", "x/a"), allow("y/*", "x/a"))


def test_connections_are_judged_again_when_a_label_goes(cluster: Cluster) -> None:
    asked = flows(["x/b", "x/c"], ["x/a"], [80])
    with cluster.policies(FROM_B):
        with pod_labelled(cluster, "x/c", "b"):
            conversations = Conversations(cluster.places, asked)
            assert set(conversations.outcomes(dict.fromkeys(asked, True)).values()) == {PASSED}
        with conversations:
            conversations.ask_again()
            kept = {flow: flow.source == "x/b" for flow in asked}
            found = conversations.outcomes(kept)
    assert found == {flow: PASSED if ok else STOPPED for flow, ok in kept.items()}


class Stop(msgspec.Struct, frozen=True):
    """A policy that closes what is open, and to whom."""

    name: str
    text: str
    asked: tuple[Flow, ...]
    stopped: Expectation


STOPS = [
    Stop(
        "ingress",
        FROM_TEAM_Y,
        tuple(flows(["x/b", "x/c", "y/a", "y/b"], ["x/a"], [80])),
        deny("x/*", "x/a"),
    ),
    Stop(
        "egress",
        network_policy(
            "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], "
            "egress: [{to: [{podSelector: {}}]}]}"
        ),
        (
            *flows(["x/a"], ["x/b", "x/c", "y/a", "y/b"], [80]),
            *flows(["x/a"], ["world/cloudflare", "host/node-1", "host/node-2"], [81]),
        ),
        deny("x/a", "[!x]*"),
    ),
    Stop(
        "deny",
        cilium_policy(
            "{endpointSelector: {matchLabels: {pod: a}}, "
            "enableDefaultDeny: {ingress: false, egress: false}, "
            "ingressDeny: [{fromEntities: [world]}], egressDeny: [{toEntities: [world]}]}"
        ),
        (
            *flows(["x/a"], ["x/b"], [80]),
            *flows(["x/a"], ["world/cloudflare"], [81]),
            *flows(["world/google"], ["x/a"], [80]),
        ),
        deny("*", "*"),
    ),
]


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_what_was_open_is_closed_and_goes_on_when_the_policy_is_gone(
    cluster: Cluster, stop: Stop
) -> None:
    closed = {flow: not stop.stopped.is_about(flow) for flow in stop.asked}
    closed |= {flow: True for flow in stop.asked if flow.target == "x/b"}
    opened = dict.fromkeys(stop.asked, True)
    with Conversations(cluster.places, stop.asked) as conversations:
        assert set(conversations.outcomes(opened).values()) == {PASSED}
        with cluster.policies(stop.text):
            conversations.ask_again()
            found = conversations.outcomes(closed)
        assert found == {flow: PASSED if ok else STOPPED for flow, ok in closed.items()}
        conversations.ask_again()
        assert set(conversations.outcomes(opened).values()) == {PASSED}


def test_a_policy_of_one_protocol_leaves_connections_of_another(cluster: Cluster) -> None:
    asked = flows(["y/a"], ["x/a"], [80, 81])
    with Conversations(cluster.places, asked) as conversations:
        conversations.outcomes(dict.fromkeys(asked, True))
        only = "{podSelector: {matchLabels: {pod: a}}, ingress: [{ports: [{port: 81}]}]}"
        with cluster.policies(network_policy(only)):
            conversations.ask_again()
            kept = {flow: (flow.protocol, flow.port) == (TCP, 81) for flow in asked}
            found = conversations.outcomes(kept)
    assert {flow.protocol for flow in found} == {TCP, UDP}
    assert {flow for flow, outcome in found.items() if outcome == PASSED} == {
        flow for flow, ok in kept.items() if ok
    }
