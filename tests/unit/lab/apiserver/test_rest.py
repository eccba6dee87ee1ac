"""Writes, deletes, and what the cluster does by itself."""

import asyncio
from typing import Any

import pytest

from cilia.lab.apiserver.deletion import DeleteOptions, delete_options
from cilia.lab.apiserver.errors import StatusError
from cilia.lab.apiserver.options import WriteOptions, write_options
from cilia.lab.apiserver.resources import Resource
from cilia.lab.apiserver.rest import MERGE_PATCH
from cilia.lab.apiserver.service import Cluster

PLAIN = WriteOptions()


def kind(cluster: Cluster, plural: str, group: str = "") -> Resource:
    found = cluster.registry.find(group, "v1", plural)
    assert found is not None
    return found


def pod(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec},
    }


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


def test_a_cluster_begins_with_its_namespaces_and_service(cluster: Cluster) -> None:
    names = [item["metadata"]["name"] for item in cluster.store.items("namespaces")]
    service = cluster.store.get("services", ("default", "kubernetes"))

    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert service is not None
    assert service["spec"]["clusterIPs"] == ["10.96.0.1", "fd00:96::1"]
    assert cluster.store.get("serviceaccounts", ("default", "default")) is not None


def test_generated_names_and_server_fields(cluster: Cluster) -> None:
    given = {
        "metadata": {
            "generateName": "web-",
            "uid": "mine",
            "creationTimestamp": "2001-01-01T00:00:00Z",
        }
    }
    made = cluster.rest.create(kind(cluster, "configmaps"), "default", given, PLAIN)["metadata"]

    assert made["name"].startswith("web-")
    assert len(made["name"]) == 9
    assert made["uid"] != "mine"
    assert not made["creationTimestamp"].startswith("2001")


def test_status_and_spec_are_written_apart(cluster: Cluster) -> None:
    pods = kind(cluster, "pods")
    made = cluster.rest.create(pods, "default", pod() | {"status": {"phase": "Running"}}, PLAIN)
    assert made["status"]["phase"] == "Pending"
    both = {"status": {"phase": "Running"}, "spec": {"hostname": "x"}}
    key = ("default", "p")
    status = cluster.rest.patch(pods, key, MERGE_PATCH, both, PLAIN, "status")

    assert status["status"]["phase"] == "Running"
    assert "hostname" not in status["spec"]
    labelled = {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Failed"}}
    assert (
        cluster.rest.patch(pods, key, MERGE_PATCH, labelled, PLAIN)["status"]["phase"] == "Running"
    )


def test_generation_counts_changes_of_the_desired_state(cluster: Cluster) -> None:
    policies = kind(cluster, "networkpolicies", "networking.k8s.io")
    key = ("default", "p")
    made = cluster.rest.create(policies, "default", {"metadata": {"name": "p"}, "spec": {}}, PLAIN)
    label = {"metadata": {"labels": {"a": "b"}}}
    labelled = cluster.rest.patch(policies, key, MERGE_PATCH, label, PLAIN)
    change = {"spec": {"policyTypes": ["Egress"]}}
    changed = cluster.rest.patch(policies, key, MERGE_PATCH, change, PLAIN)

    generations = [item["metadata"]["generation"] for item in (made, labelled, changed)]
    assert generations == [1, 1, 2]


def test_dry_run_writes_nothing(cluster: Cluster) -> None:
    options = write_options({"dryRun": "All"}, "test/1")
    before = cluster.store.revision
    cluster.rest.create(kind(cluster, "configmaps"), "default", config_map("c"), options)

    assert cluster.store.revision == before


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"kind": "Secret"}, "does not match|do not match"),
        ({"metadata": {"name": "x", "namespace": "other"}}, "does not match the namespace"),
        ({"metadata": {"name": "x", "resourceVersion": "1"}}, "should not be set"),
        ({"metadata": {"name": "x", "labels": {"a": 1}}}, "cannot unmarshal number"),
        ({"metadata": {"name": "x", "labels": {"a b": "c"}}}, "name part must consist"),
        ({"metadata": {}}, "name or generateName is required"),
    ],
)
def test_refused_objects(cluster: Cluster, given: dict[str, Any], why: str) -> None:
    with pytest.raises(StatusError, match=why):
        cluster.rest.create(kind(cluster, "configmaps"), "default", given, PLAIN)


def test_unknown_fields_warn_or_fail(cluster: Cluster) -> None:
    resource = kind(cluster, "configmaps")
    warned = WriteOptions()
    made = cluster.rest.create(resource, "default", config_map("c") | {"dada": {}}, warned)

    assert "dada" not in made
    assert warned.warnings == ['unknown field "dada"']
    strict = write_options({"fieldValidation": "Strict"}, "")
    with pytest.raises(StatusError, match="strict decoding error"):
        cluster.rest.create(resource, "default", config_map("d") | {"dada": {}}, strict)


def test_pods_keep_what_may_not_change(cluster: Cluster) -> None:
    pods, key = kind(cluster, "pods"), ("default", "p")
    cluster.rest.create(pods, "default", pod(), PLAIN)
    image = {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}
    changed = cluster.rest.patch(pods, key, "application/strategic-merge-patch+json", image, PLAIN)

    assert changed["spec"]["containers"][0]["image"] == "i:2"
    with pytest.raises(StatusError, match="pod updates may not change"):
        cluster.rest.patch(pods, key, MERGE_PATCH, {"spec": {"hostname": "x"}}, PLAIN)


def _delete(cluster: Cluster, resource: Resource, name: str, **options: Any) -> bool:
    namespace = "default" if resource.namespaced else ""
    found = delete_options(options, {})
    return cluster.deleter.delete(resource, (namespace, name), found, PLAIN)[1]


def test_a_running_pod_waits_for_its_kubelet(cluster: Cluster) -> None:
    pods, key = kind(cluster, "pods"), ("default", "p")
    cluster.rest.create(pods, "default", pod(nodeName="n"), PLAIN)

    assert not _delete(cluster, pods, "p")
    waiting = cluster.rest.get(pods, key)
    assert waiting["metadata"]["deletionGracePeriodSeconds"] == 30
    wrong = DeleteOptions(grace_period_seconds=0, preconditions={"uid": "other"})
    with pytest.raises(StatusError) as caught:
        cluster.deleter.delete(pods, key, wrong, PLAIN)
    assert caught.value.code == 409
    assert _delete(cluster, pods, "p", gracePeriodSeconds=0)
    assert cluster.store.get("pods", key) is None


def test_finalizers_hold_an_object_until_the_last_goes(cluster: Cluster) -> None:
    resource, key = kind(cluster, "configmaps"), ("default", "c")
    cluster.rest.create(resource, "default", config_map("c", finalizers=["a.io/x"]), PLAIN)

    assert not _delete(cluster, resource, "c")
    assert "deletionTimestamp" in cluster.rest.get(resource, key)["metadata"]
    cluster.rest.patch(resource, key, MERGE_PATCH, {"metadata": {"finalizers": None}}, PLAIN)
    assert cluster.store.get("configmaps", key) is None


def test_a_namespace_goes_when_it_is_finalized(cluster: Cluster) -> None:
    namespaces = kind(cluster, "namespaces")
    made = cluster.rest.create(namespaces, "", {"metadata": {"name": "zoo"}}, PLAIN)
    assert made["spec"]["finalizers"] == ["kubernetes"]
    assert not _delete(cluster, namespaces, "zoo")

    with pytest.raises(StatusError, match="because it is being terminated"):
        cluster.rest.create(kind(cluster, "configmaps"), "zoo", config_map("c"), PLAIN)
    waiting = cluster.rest.get(namespaces, ("", "zoo"))
    body = waiting | {"spec": {"finalizers": []}}
    cluster.rest.update(namespaces, ("", "zoo"), body, PLAIN, "finalize")
    assert cluster.store.get("namespaces", ("", "zoo")) is None
    with pytest.raises(StatusError, match="may not be deleted"):
        _delete(cluster, namespaces, "default")


async def _settled(cluster: Cluster) -> None:
    """Lets the garbage collector work until nothing changes any more."""
    worker = asyncio.create_task(cluster.garbage.run())
    revision = -1
    while revision != cluster.store.revision:
        revision = cluster.store.revision
        for _ in range(5):
            await asyncio.sleep(0)
    worker.cancel()
    await asyncio.wait([worker])


def _family(cluster: Cluster) -> Resource:
    """Configuration maps a <- b <- c, by owner references."""
    resource, owner = kind(cluster, "configmaps"), None
    for name in "abc":
        references = {"ownerReferences": [owner]} if owner else {}
        made = cluster.rest.create(resource, "default", config_map(name, **references), PLAIN)
        uid = made["metadata"]["uid"]
        owner = {
            "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid,
            "blockOwnerDeletion": True,
        }  # fmt: skip
    return resource


def _left(cluster: Cluster) -> list[str]:
    names = [item["metadata"]["name"] for item in cluster.store.items("configmaps", "default")]
    return [name for name in names if name in "abc"]


@pytest.mark.parametrize(
    ("policy", "left"), [("Background", []), ("Foreground", []), ("Orphan", ["b", "c"])]
)
def test_dependents_follow_the_propagation_policy(
    cluster: Cluster, policy: str, left: list[str]
) -> None:
    resource = _family(cluster)
    gone = _delete(cluster, resource, "a", propagationPolicy=policy)
    asyncio.run(_settled(cluster))

    assert gone is (policy == "Background")
    assert _left(cluster) == left


def test_foreground_deletes_the_owner_last(cluster: Cluster) -> None:
    resource = _family(cluster)
    order: list[str] = []
    cluster.store.subscribe(
        "configmaps",
        lambda change: (
            order.append(change.object["metadata"]["name"]) if change.type == "DELETED" else None
        ),
    )
    _delete(cluster, resource, "a", propagationPolicy="Foreground")
    asyncio.run(_settled(cluster))

    assert order == ["c", "b", "a"]


def test_an_object_whose_owner_never_was_goes(cluster: Cluster) -> None:
    resource = kind(cluster, "configmaps")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "nobody"}
    cluster.rest.create(resource, "default", config_map("a", ownerReferences=[owner]), PLAIN)
    asyncio.run(_settled(cluster))

    assert _left(cluster) == []
