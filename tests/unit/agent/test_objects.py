"""Kubernetes objects to rows: nulls, defaults, and nothing more than is needed."""

from typing import Any

import msgspec
import pytest

from cilia.agent.objects import (
    CiliumEndpointItem,
    EndpointSliceItem,
    NodeItem,
    PodItem,
    ServiceItem,
    policy_row,
)
from cilia.agent.workloads import ANNOTATION, told_workload
from cilia.model.workloads import Workload
from cilia.state.endpoint_slices import EndpointSlice, SliceBackend, SlicePort
from cilia.state.pods import Pod
from cilia.state.ports import NamedPort
from cilia.state.remote_endpoints import RemoteEndpoint
from cilia.state.services import Service, ServicePort

META = {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"b": "2", "a": "1"}}


def row(kind: Any, item: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(item), type=kind).row()


def test_a_pod_keeps_what_its_identity_and_named_ports_need() -> None:
    port = {"name": "http", "containerPort": 8080}
    item = {
        "metadata": META,
        "spec": {
            "serviceAccountName": "robot",
            "containers": [{"ports": [port, {"containerPort": 9}]}, {"ports": None}],
        },
    }
    assert row(PodItem, item) == Pod(
        "shop",
        "web",
        "u1",
        (("a", "1"), ("b", "2")),
        "robot",
        named_ports=(NamedPort("http", "TCP", 8080),),
        workload=Workload("Pod", "web"),
    )


def test_a_pod_belongs_to_the_owner_that_controls_it() -> None:
    owners = [
        {"kind": "Node", "name": "node-1"},
        {"kind": "StatefulSet", "name": "db", "controller": True},
    ]
    found = row(PodItem, {"metadata": {**META, "ownerReferences": owners}, "spec": {}})
    assert found.workload == Workload("StatefulSet", "db")


@pytest.mark.parametrize(
    ("kind", "name"), [("Deploy\x1b[2J", "db"), ("Job", "a b"), ("", "db"), ("Job", "a/b")]
)
def test_an_owner_whose_kind_or_name_is_no_word_is_none(kind: str, name: str) -> None:
    owners = [{"kind": kind, "name": name, "controller": True}]
    found = row(PodItem, {"metadata": {**META, "ownerReferences": owners}, "spec": {}})
    assert found.workload == Workload("Pod", "web")
    assert told_workload({ANNOTATION: f"{kind}/{name}"}) is None


def test_a_remote_pods_workload_is_what_its_node_wrote() -> None:
    status = {"identity": {"id": 1}, "networking": {"addressing": [{"ipv4": "10.0.2.7"}]}}
    for text, told in (("Deployment/web", Workload("Deployment", "web")), ("a/b/c", None)):
        metadata = {**META, "annotations": {"cilia.io/workload": text}}
        assert row(CiliumEndpointItem, {"metadata": metadata, "status": status}).workload == told


@pytest.mark.parametrize(
    ("spec", "ips"),
    [
        ({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"]}, 2),
        ({"clusterIP": "10.96.0.7", "clusterIPs": None}, 1),
        ({"clusterIP": "None", "clusterIPs": ["None"]}, 0),
        ({"type": "ExternalName"}, 0),
    ],
)
def test_a_headless_service_has_no_address(spec: dict[str, Any], ips: int) -> None:
    assert len(row(ServiceItem, {"metadata": META, "spec": spec}).cluster_ips) == ips


def test_a_service_with_affinity_has_its_time() -> None:
    spec = {
        "clusterIP": "10.96.0.7",
        "ports": [{"port": 80, "name": None}],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
    }
    assert row(ServiceItem, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}) == (
        Service("shop", "web", "ClusterIP", ("10.96.0.7",), (ServicePort("", "TCP", 80),), 60)
    )


def test_a_slice_that_says_nothing_is_ready() -> None:
    item = {
        "metadata": {
            "name": "web-x",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}, {"name": "any", "port": None}],
        "endpoints": [
            {"addresses": ["10.0.1.5"], "conditions": {}},
            {"addresses": ["10.0.1.6"], "conditions": {"ready": False, "terminating": True}},
            {"addresses": ["10.0.1.7"], "conditions": {"ready": None, "serving": None}},
        ],
    }
    assert row(EndpointSliceItem, item) == EndpointSlice(
        "shop",
        "web-x",
        "web",
        (SlicePort("", "TCP", 8080),),
        (
            SliceBackend(("10.0.1.5",)),
            SliceBackend(("10.0.1.6",), ready=False, serving=False, terminating=True),
            SliceBackend(("10.0.1.7",)),
        ),
    )


def test_a_node_has_its_routers_addresses() -> None:
    item = {
        "metadata": {"name": "n2"},
        "spec": {"podCIDR": "10.0.2.0/24", "podCIDRs": ["10.0.2.0/24", "fd00:10:0:2::/64"]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "n2"},
                {"type": "InternalIP", "address": "172.30.0.12"},
            ]
        },
    }
    found = row(NodeItem, item)
    assert found.addresses == ("172.30.0.12",)
    assert found.internal == ("10.0.2.1", "fd00:10:0:2::1")


def test_a_pod_of_another_node_counts_once_it_has_identity_and_address() -> None:
    item: dict[str, Any] = {"metadata": META, "status": None}
    assert row(CiliumEndpointItem, item) is None
    item["status"] = {
        "identity": {"id": 4711},
        "networking": {"addressing": [{"ipv4": "10.0.2.7", "ipv6": "fd00::7"}], "node": "1.2.3.4"},
        "named-ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }
    assert row(CiliumEndpointItem, item) == RemoteEndpoint(
        "shop",
        "web",
        4711,
        "1.2.3.4",
        ("10.0.2.7", "fd00::7"),
        (NamedPort("http", "TCP", 80),),
    )
    del item["status"]["networking"]
    assert row(CiliumEndpointItem, item) is None


def test_a_policys_row_does_not_move_with_its_status() -> None:
    item = {"metadata": {**META, "resourceVersion": "1", "generation": 1}, "spec": {"x": 1}}
    later = {
        **item,
        "metadata": {**META, "resourceVersion": "9", "generation": 1, "managedFields": []},
        "status": {"conditions": []},
    }
    kind = "CiliumNetworkPolicy"
    assert policy_row(kind, item) == policy_row(kind, later)
    assert policy_row(kind, item).key == (kind, "shop", "web", "")
