"""Stock kubectl against the lab's API server: objects of the built-in kinds."""

import json

import pytest

from lab.apiserver.manifests import DEMO
from lab.kubectl import Kubectl


@pytest.fixture
def demo(kube: Kubectl) -> Kubectl:
    kube("apply", "-f", "-", stdin=DEMO)
    return kube


def test_apply_creates_then_changes_nothing(kube: Kubectl) -> None:
    created = kube("apply", "-f", "-", stdin=DEMO)
    again = kube("apply", "-f", "-", stdin=DEMO)

    assert created.count("created") == 3
    assert again.count("unchanged") == 3


def test_get_prints_tables_as_kubectl_users_know_them(demo: Kubectl) -> None:
    pods = demo("get", "pods", "-o", "wide").splitlines()
    services = demo("get", "svc").splitlines()
    deployments = demo("get", "deploy", "-o", "wide").splitlines()

    assert pods[0].split() == [
        "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE",
        "READINESS", "GATES",
    ]  # fmt: skip
    assert pods[1].split()[:4] == ["xwing", "0/1", "Pending", "0"]
    assert services[1].split()[:5] == ["deathstar", "ClusterIP", "<none>", "<none>", "80/TCP"]
    assert deployments[1].split()[:4] == ["deathstar", "0/2", "0", "0"]
    assert "quay.io/cilium/starwars" in deployments[1]


def test_get_yaml_and_json_carry_the_defaults(demo: Kubectl) -> None:
    pod = json.loads(demo("get", "pod", "xwing", "-o", "json"))

    assert pod["spec"]["restartPolicy"] == "Always"
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert pod["status"]["qosClass"] == "BestEffort"
    assert "kind: Pod" in demo("get", "pod", "xwing", "-o", "yaml")


def test_selectors_and_all_namespaces(demo: Kubectl) -> None:
    assert demo("get", "pods", "-l", "org in (alliance),!nothing", "-o", "name") == "pod/xwing\n"
    assert demo("get", "pods", "-l", "org!=alliance", "-o", "name") == ""
    assert demo("get", "pods", "--field-selector", "status.phase=Pending", "-o", "name")
    assert "xwing" in demo("get", "pods", "-A")
    assert "not supported" in demo.fails("get", "pods", "--field-selector", "spec.nope=x")


def test_label_annotate_and_the_three_patches(demo: Kubectl) -> None:
    demo("label", "pod", "xwing", "a=b")
    demo("annotate", "pod", "xwing", "c=d")
    container = '{"spec":{"template":{"spec":{"containers":[{"name":"deathstar","image":"x:1"}]}}}}'
    demo("patch", "deploy", "deathstar", "-p", container)
    demo("patch", "deploy", "deathstar", "--type", "merge", "-p", '{"spec":{"replicas":4}}')
    operation = '[{"op":"add","path":"/metadata/labels/x","value":"y"}]'
    demo("patch", "deploy", "deathstar", "--type", "json", "-p", operation)

    pod = json.loads(demo("get", "pod", "xwing", "-o", "json"))
    deployment = json.loads(demo("get", "deploy", "deathstar", "-o", "json"))
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    assert pod["metadata"]["labels"]["a"] == "b"
    assert pod["metadata"]["annotations"]["c"] == "d"
    assert only["image"] == "x:1"
    assert only["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert deployment["spec"]["replicas"] == 4
    assert deployment["metadata"]["labels"] == {"org": "empire", "x": "y"}
    assert deployment["metadata"]["generation"] == 3


def test_scale_and_rollout_status(demo: Kubectl) -> None:
    demo("scale", "deploy", "deathstar", "--replicas", "3")
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 3)
    status = {"status": {"observedGeneration": 2, "readyReplicas": 3, **counts}}
    words = ("--subresource", "status", "--type", "merge", "-p", json.dumps(status))
    demo("patch", "deploy", "deathstar", *words)

    assert "successfully rolled out" in demo("rollout", "status", "deploy/deathstar")
    assert demo("get", "deploy", "deathstar").splitlines()[1].split()[1] == "3/3"


def test_wait_sees_a_condition_that_comes_later(demo: Kubectl) -> None:
    waiting = demo.start("wait", "--for", "condition=Ready", "pod/xwing", "--timeout", "20s")
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    words = ("--subresource", "status", "--type", "merge", "-p", json.dumps(status))
    demo("patch", "pod", "xwing", *words)

    out, err = waiting.communicate(timeout=30)
    assert out == "pod/xwing condition met\n", err


def test_typed_creates_arrive_as_protobuf(kube: Kubectl) -> None:
    kube("create", "deployment", "web", "--image", "nginx:1", "--replicas", "2", "--port", "80")
    kube("create", "configmap", "settings", "--from-literal", "a=b")
    kube("create", "secret", "generic", "key", "--from-literal", "a=b")
    kube("expose", "deployment", "web", "--target-port", "8080")

    (container,) = json.loads(kube("get", "deploy", "web", "-o", "json"))["spec"]["template"][
        "spec"
    ]["containers"]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert kube("get", "cm", "settings", "-o", "jsonpath={.data.a}") == "b"
    assert kube("get", "secret", "key", "-o", "jsonpath={.data.a}") == "Yg=="
    assert kube("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"


def test_delete_waits_for_the_kubelet_of_a_running_pod(kube: Kubectl) -> None:
    spec = '{"spec":{"nodeName":"nowhere"}}'
    kube("run", "busy", "--image", "busybox:1", "--overrides", spec)
    deleting = kube.start("delete", "pod", "busy", "--wait")
    kube("wait", "--for", "jsonpath={.metadata.deletionGracePeriodSeconds}=30", "pod/busy")

    assert "Terminating" in kube("get", "pod", "busy")
    assert deleting.poll() is None
    kube("delete", "pod", "busy", "--force", "--grace-period", "0")
    deleting.communicate(timeout=30)
    assert deleting.returncode == 0


def test_server_side_apply_tells_conflicts_and_drops_what_is_no_longer_set(kube: Kubectl) -> None:
    first = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '2'}\n"
    second = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '9'}\n"
    words = ("apply", "--server-side", "-f", "-", "--field-manager")
    kube(*words, "one", stdin=first)

    complaint = kube.fails(*words, "two", stdin=second)
    kube(*words, "two", "--force-conflicts", stdin=second)
    kube(*words, "one", stdin=first.replace("a: '1', ", ""))

    assert 'conflict with "one"' in complaint
    assert ".data.a" in complaint
    data = json.loads(kube("get", "cm", "c", "-o", "json"))["data"]
    assert data == {"a": "9", "b": "2"}


def test_owned_objects_go_with_their_owner(kube: Kubectl) -> None:
    kube("create", "configmap", "owner")
    uid = kube("get", "cm", "owner", "-o", "jsonpath={.metadata.uid}")
    reference = f"{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}"
    owned = (
        "apiVersion: v1\nkind: ConfigMap\n"
        f"metadata: {{name: owned, ownerReferences: [{reference}]}}\n"
    )
    kube("create", "-f", "-", stdin=owned)
    kube("delete", "cm", "owner")

    kube("wait", "--for", "delete", "cm/owned", "--timeout", "20s")
    assert "owned" not in kube("get", "cm")


def test_mistakes_are_told_with_field_and_reason(kube: Kubectl) -> None:
    unknown = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {kontainers: []}\n"

    assert 'unknown field "spec.kontainers"' in kube.fails("apply", "-f", "-", stdin=unknown)
    assert "spec.containers: Required value" in kube.fails(
        "apply", "--validate=false", "-f", "-", stdin=unknown
    )
    assert 'configmaps "nope" not found' in kube.fails("get", "cm", "nope")
    assert "RFC 1123" in kube.fails("create", "cm", "Bad_Name")
    kube("create", "cm", "twice")
    assert "already exists" in kube.fails("create", "cm", "twice")
    elsewhere = kube.within("not-there")
    assert 'namespaces "not-there" not found' in elsewhere.fails("create", "cm", "x")


def test_dry_run_leaves_nothing(kube: Kubectl) -> None:
    kube("create", "cm", "ghost", "--dry-run=server")

    assert "not found" in kube.fails("get", "cm", "ghost")


def test_describe_explain_and_api_resources(demo: Kubectl) -> None:
    assert "quay.io/cilium/json-mock" in demo("describe", "pod", "xwing")
    assert "Selector" in demo("describe", "svc", "deathstar")
    assert "Replicas" in demo("describe", "deploy", "deathstar")
    assert "containerPort" in demo("explain", "pod.spec.containers.ports")
    resources = demo("api-resources")
    for name in ("pods", "deployments", "networkpolicies", "customresourcedefinitions"):
        assert name in resources
    assert demo("auth", "can-i", "create", "pods") == "yes\n"


def test_get_watch_prints_each_change(kube: Kubectl) -> None:
    watching = kube.start("get", "cm", "-w", "-o", "name", "--field-selector", "metadata.name=c")
    assert watching.stdout is not None
    try:
        kube("create", "cm", "c")
        assert watching.stdout.readline() == "configmap/c\n"
        kube("label", "cm", "c", "a=b")
        assert watching.stdout.readline() == "configmap/c\n"
    finally:
        watching.kill()
        watching.communicate()
