"""Nonsense gets a 4xx Status, and the server goes on."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.apiserver.client import Client
from lab.apiserver.process import ApiServerProcess

BASE = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
WITHIN = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["metadata", "spec", "name", "labels", "annotations", "containers", "image", "ports", "env",
     "ownerReferences", "finalizers", "managedFields", "fieldsV1", "initContainers", "volumes",
     "livenessProbe", "httpGet", "port", "resources", "limits", "nodeName", "status",
     "conditions", "type", "$patch", "$retainKeys", "$setElementOrder/containers", "data",
     "selector", "matchLabels", "matchExpressions", "template", "strategy", "rollingUpdate",
     "versions", "names", "group", "schema", "openAPIV3Schema", "clusterIPs", "tolerations"]
)  # fmt: skip
NEAR = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=20,
)


def _is_answered(status: int, body: bytes) -> None:
    assert status < 500, body
    if status >= 400:
        assert json.loads(body)["kind"] == "Status"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"\x00\x01\x02", 400),
        (b'{"metadata": {"name": "a\\u0000b"}}', 422),
        (b'{"metadata": {"name": "\\ud800"}}', 400),
        (b'{"metadata": 7}', 400),
        (b'{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}', 400),
        (b'{"metadata": {"name": "x", "namespace": "kube-system"}}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, 400),
        (b'{"data": {"a": "' + b"x" * 4_000_000 + b'"}}', 413),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_bodies(api: ApiServerProcess, body: bytes, status: int) -> None:
    alone = Client(api)
    found, answer = alone.raw("POST", BASE, body)
    alone.close()

    assert found == status, answer
    assert json.loads(answer)["kind"] == "Status"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("OPTIONS", BASE, 405),
        ("POST", "/api/v1/namespaces/default/nonsense", 404),
        ("GET", "/apis/no.such.group/v1", 404),
        ("GET", "/api/v1/namespaces/default/pods/%00", 400),
        ("GET", "/api/v1/namespaces/default/pods/" + "x" * 4000, 400),
        ("GET", f"{BASE}?labelSelector=%3D%3D%3D", 400),
        ("GET", f"{BASE}?fieldSelector=nonsense", 400),
        ("GET", f"{BASE}?limit=-1", 400),
        ("GET", f"{BASE}?continue=nonsense", 400),
        ("GET", f"{BASE}?watch=1&resourceVersion=x", 400),
        ("DELETE", "/api/v1/namespaces/kube-system", 403),
        ("GET", "/api/v1/namespaces/default/pods/x/exec", 404),
        ("GET", "/../../etc/passwd", 404),
    ],
)
def test_bad_requests(client: Client, method: str, path: str, status: int) -> None:
    found, answer = client.raw(method, path)

    assert found == status, answer


@WITHIN
@given(body=JSON)
def test_any_json_is_answered(client: Client, body: object) -> None:
    _is_answered(*client.raw("POST", f"{BASE}?dryRun=All", json.dumps(body).encode()))


@WITHIN
@given(
    body=NEAR.filter(lambda value: isinstance(value, dict)),
    path=st.sampled_from(
        [
            PODS,
            "/api/v1/namespaces/default/services",
            "/apis/apps/v1/namespaces/default/deployments",
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        ]
    ),
)
def test_nearly_objects_are_answered(client: Client, body: dict[str, object], path: str) -> None:
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        metadata.setdefault("name", "near")
    else:
        body["metadata"] = {"name": "near"}
    _is_answered(*client.raw("POST", f"{path}?dryRun=All", json.dumps(body).encode()))


@WITHIN
@given(
    body=NEAR,
    kind=st.sampled_from(
        [
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ]
    ),
)
def test_any_patch_is_answered(client: Client, body: object, kind: str) -> None:
    path = "/api/v1/namespaces/default/services/kubernetes?dryRun=All&fieldManager=test"
    _is_answered(*client.raw("PATCH", path, json.dumps(body).encode(), kind))


@WITHIN
@given(body=st.binary(max_size=200))
def test_any_protobuf_is_answered(client: Client, body: bytes) -> None:
    kind = "application/vnd.kubernetes.protobuf"
    head = b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12"
    raw = head + bytes([len(body) & 0x7F]) + body
    _is_answered(*client.raw("POST", f"{BASE}?dryRun=All", raw, kind))


@WITHIN
@given(query=st.text(st.sampled_from("abz019=!,()<> .-_/in'\\"), max_size=20))
def test_any_selector_is_answered(client: Client, query: str) -> None:
    escaped = "".join(f"%{ord(char):02x}" for char in query)
    _is_answered(*client.raw("GET", f"{BASE}?labelSelector={escaped}"))
    _is_answered(*client.raw("GET", f"{BASE}?fieldSelector={escaped}"))
