"""What is legal and odd: each oddity is named at its field, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.model.selectors import LabelSelector, Operator, Requirement, label_selector
from cilia.policy.sources import parse_policy
from cilia.policy.suspicions import is_satisfiable, suspicions_of

WEB = {"matchLabels": {"app": "web"}}
TCP80 = [{"ports": [{"port": "80", "protocol": "TCP"}]}]
PLAIN = {"fromEndpoints": [WEB], "toPorts": TCP80}
PODS = "io.kubernetes.pod.namespace"


def told(document: dict[str, Any]) -> list[str]:
    return [str(each) for each in suspicions_of(document, parse_policy(document))]


def cilium(spec: dict[str, Any]) -> list[str]:
    return told(
        {
            "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"endpointSelector": WEB, **spec},
        }
    )


def from_labels(**labels: str) -> list[str]:
    return cilium({"ingress": [{"fromEndpoints": [{"matchLabels": labels}]}]})


@pytest.mark.parametrize(
    "spec",
    [
        {"ingress": [PLAIN]},
        {"ingress": [{}], "egress": [{}]},
        {"ingress": [{"fromEndpoints": [{"matchLabels": {f"k8s:{PODS}": "db"}}]}]},
        {"ingress": [{"fromEndpoints": [{"matchLabels": {"reserved:host": ""}}]}]},
        {"egress": [{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/9"]}]}]},
        {"egress": [{"toPorts": [{"ports": [{"port": "dns", "protocol": "ANY"}]}]}]},
        {"egress": [{"icmps": [{"fields": [{"type": 8}]}]}]},
    ],
)
def test_what_is_meant_is_left_alone(spec: dict[str, Any]) -> None:
    assert cilium(spec) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"ingress": [PLAIN, {}]}, ("spec.ingress[1]", "matches nothing")),
        ({"ingressDeny": [{}]}, ("spec.ingressDeny[0]", "matches nothing")),
        ({"ingress": [{"fromEndpoints": []}]}, ("[0].fromEndpoints", "selects nobody")),
        (
            {"egress": [{"toPorts": [{"ports": [{"port": "0", "protocol": "TCP"}]}]}]},
            ("toPorts[0].ports[0].port", "every port"),
        ),
        (
            {"egress": [{"toPorts": [{"ports": [{"port": "53"}]}]}]},
            ("toPorts[0].ports[0]", "no protocol"),
        ),
        (
            {"egress": [{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/7"]}]}]},
            ("toCIDRSet[0].except", "covers all of 10.0.0.0/8"),
        ),
        (
            {"endpointSelector": {"matchLabels": {PODS: "db"}}, "ingress": [PLAIN]},
            ("spec.endpointSelector", "in its own only: shop"),
        ),
        (
            {
                "endpointSelector": {
                    "matchExpressions": [{"key": PODS, "operator": "In", "values": ["shop", "db"]}]
                },
                "ingress": [PLAIN],
            },
            ("spec.endpointSelector", "names namespace db", "in its own only: shop"),
        ),
        (
            {
                "egress": [
                    {"toPorts": [{"ports": [{"port": "80", "endPort": 70, "protocol": "TCP"}]}]}
                ]
            },
            ("ports[0].endPort", "70 is below port 80"),
        ),
        (
            {
                "endpointSelector": {
                    "matchLabels": {"k8s:app": "a"},
                    "matchExpressions": [{"key": "k8s:app", "operator": "DoesNotExist"}],
                },
                "ingress": [PLAIN],
            },
            ("spec.endpointSelector", "contradicts itself"),
        ),
    ],
)
def test_an_oddity_is_named_at_its_field(spec: dict[str, Any], words: tuple[str, ...]) -> None:
    (found,) = cilium(spec)
    assert all(word in found for word in words), found


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("k8s:io.kubernetes.pod.namepsace", f"did you mean {PODS}?"),
        ("io.kubernetes.pod.namespaces", f"did you mean {PODS}?"),
        ("io.cilium.k8s.policy.serviceacount", "did you mean io.cilium.k8s.policy.serviceaccount?"),
        ("io.cilium.k8s.namespace.label.team", "io.cilium.k8s.namespace.labels.team"),
        ("k8:app", "did you mean k8s:app?"),
        ("kubernetes.io/metadata.name", f"write k8s:{PODS}"),
    ],
)
def test_a_key_that_is_nearly_another_is_asked_about(key: str, meant: str) -> None:
    (found,) = from_labels(**{key: "x"})
    assert meant in found


@pytest.mark.parametrize("key", ["app", "io.cilium.k8s.namespace.labels.team", "a.b/c", "any:x"])
def test_other_keys_are_left_alone(key: str) -> None:
    assert from_labels(**{key: "x"}) == []


def kubernetes(spec: dict[str, Any]) -> list[str]:
    metadata = {"name": "p", "namespace": "shop"}
    return told({"kind": "NetworkPolicy", "metadata": metadata, "spec": spec})


def test_rules_of_a_direction_that_is_left_out_have_no_effect() -> None:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "egress": [{}]}
    assert kubernetes(spec) == [
        "spec.egress has no effect; add Egress to policyTypes, or leave it out"
    ]
    assert kubernetes({"podSelector": {}, "ingress": [{}], "egress": [{}]}) == []


def test_a_namespace_key_that_is_nearly_right() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.nam": "a"}}}
    (found,) = kubernetes({"podSelector": {}, "ingress": [{"from": [peer]}]})
    assert "did you mean kubernetes.io/metadata.name?" in found


REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        st.sampled_from(("k8s:a", "k8s:b")),
        st.sampled_from((Operator.IN, Operator.NOT_IN)),
        st.sets(st.sampled_from("xyz"), min_size=1).map(lambda v: tuple(sorted(v))),
    ),
    st.builds(
        Requirement,
        st.sampled_from(("k8s:a", "k8s:b")),
        st.sampled_from((Operator.EXISTS, Operator.DOES_NOT_EXIST)),
    ),
)
VALUES = (None, "x", "y", "z", "other")


@given(st.lists(REQUIREMENTS, max_size=4).map(label_selector))
def test_satisfiable_is_what_some_label_set_satisfies(selector: LabelSelector) -> None:
    sets = [
        tuple(f"k8s:{key}={value}" for key, value in (("a", a), ("b", b)) if value is not None)
        for a in VALUES
        for b in VALUES
    ]
    assert is_satisfiable(selector) == any(map(selector.matches, sets))
