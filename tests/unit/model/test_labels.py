"""Labels, the filter that makes identities of them, and identities' numbers."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.model.errors import InvalidValue
from cilia.model.identities import (
    CLUSTER_FIRST,
    CLUSTER_LAST,
    ReservedIdentity,
    Scope,
    candidate_number,
    next_candidate,
    prefix_labels,
    reserved_labels,
    scope_of,
    world_identity,
)
from cilia.model.label_filter import LabelFilter
from cilia.model.labels import (
    Label,
    cidr_label,
    cidr_of_label,
    label_set,
    label_value,
    node_labels,
    parse_label,
    pod_labels,
)

WORDS = st.text("abcxyz./-", min_size=1, max_size=8)
LABELS = st.builds(Label, st.sampled_from(["k8s", "reserved", "node"]), WORDS, WORDS | st.just(""))


@given(LABELS)
def test_a_rendered_label_reads_back(label):
    assert parse_label(str(label)) == label


@given(st.lists(LABELS))
def test_a_label_set_does_not_depend_on_order(labels):
    assert label_set(labels) == label_set(reversed(labels)) == label_set(label_set(labels))


def test_a_label_needs_a_key():
    with pytest.raises(InvalidValue, match="source:key=value"):
        parse_label("k8s:=web")


@pytest.mark.parametrize(
    ("prefix", "label"),
    [("10.0.0.0/8", "cidr:10.0.0.0/8"), ("::1/128", "cidr:0--1/128"),
     ("fd00::/8", "cidr:fd00--0/8"), ("::/1", "cidr:0--0/1"), ("0.0.0.0/0", None), ("::/0", None)],
)  # fmt: skip
def test_cidr_labels(prefix, label):
    network = ipaddress.ip_network(prefix)
    assert cidr_label(network) == label
    if label:
        assert cidr_of_label(label) == network


@given(st.integers(0, 2**128 - 1), st.integers(1, 128))
def test_every_cidr_label_names_its_prefix(address, bits):
    network = ipaddress.ip_network((address, bits), strict=False)
    assert cidr_of_label(cidr_label(network)) == network


def labels_of(labels):
    return LabelFilter().apply(
        pod_labels(namespace="shop", labels=labels, namespace_labels={"env": "prod"},
                   service_account="web", cluster="c1")
    )  # fmt: skip


def test_a_pods_identity_has_its_namespace_cluster_and_account():
    found = labels_of({"app": "web"})
    assert label_value(found, "k8s:app") == "web"
    assert label_value(found, "k8s:io.kubernetes.pod.namespace") == "shop"
    assert label_value(found, "k8s:io.cilium.k8s.namespace.labels.env") == "prod"
    name = "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name"
    assert label_value(found, name) == "shop"
    assert label_value(found, "k8s:io.cilium.k8s.policy.cluster") == "c1"
    assert label_value(found, "k8s:io.cilium.k8s.policy.serviceaccount") == "web"


def test_a_pod_cannot_claim_another_namespace():
    honest = labels_of({"app": "web"})
    lying = {"io.kubernetes.pod.namespace": "bank",
             "io.cilium.k8s.namespace.labels.env": "vault",
             "io.cilium.k8s.policy.serviceaccount": "root"}  # fmt: skip
    assert labels_of({"app": "web", **lying}) == honest


@pytest.mark.parametrize(
    ("key", "kept"),
    [("app", True), ("app.kubernetes.io/name", True), ("pod-template-hash", False),
     ("k8s.io/x", False), ("kubernetes.io/x", False), ("failure.beta.kubernetes.io/z", False),
     ("statefulset.kubernetes.io/pod-name", False), ("annotation.x", False),
     ("topology.kubernetes.io/zone", False), ("my.topology", True)],
)  # fmt: skip
def test_the_default_filter(key, kept):
    assert LabelFilter().includes(Label("k8s", key, "v")) == kept


def test_a_filter_that_lists_what_to_include_leaves_out_the_rest():
    chosen = LabelFilter(["k8s:app$"])
    assert chosen.includes(Label("k8s", "app", "v"))
    assert not chosen.includes(Label("k8s", "tier", "v"))
    assert chosen.includes(Label("k8s", "io.kubernetes.pod.namespace", "v"))
    with pytest.raises(InvalidValue, match="regular expression"):
        LabelFilter(["("])


def test_reserved_identities_have_their_labels():
    found = reserved_labels()
    assert found[1] == ("reserved:host",)
    assert found[7] == ("reserved:kube-apiserver", "reserved:remote-node")
    assert world_identity(4, dual_stack=True) is ReservedIdentity.WORLD_IPV4
    assert world_identity(6, dual_stack=False) is ReservedIdentity.WORLD
    network = ipaddress.ip_network("fd00::/8")
    assert prefix_labels(network, dual_stack=True) == ("cidr:fd00--0/8", "reserved:world-ipv6")
    assert "node:disk=ssd" in node_labels({"disk": "ssd"}, "c1")


@given(st.lists(LABELS))
def test_a_candidate_is_a_cluster_number_and_the_same_everywhere(labels):
    number = candidate_number(label_set(labels))
    assert CLUSTER_FIRST <= number <= CLUSTER_LAST
    assert scope_of(number) is Scope.CLUSTER
    assert number == candidate_number(label_set(reversed(labels)))
    assert CLUSTER_FIRST <= next_candidate(number) <= CLUSTER_LAST


def test_candidates_go_round():
    assert next_candidate(CLUSTER_LAST) == CLUSTER_FIRST
    assert scope_of(0x01000001) is Scope.LOCAL
    assert scope_of(0x02000001) is Scope.REMOTE_NODE
    assert scope_of(130) is Scope.USER_RESERVED
