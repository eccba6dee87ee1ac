"""What clients are told: discovery, OpenAPI, tables, JSON paths."""

from typing import Any

import pytest

from cilia.lab.apiserver import discovery
from cilia.lab.apiserver.jsonpath import parse
from cilia.lab.apiserver.openapi import document
from cilia.lab.apiserver.protobuf import decode_object
from cilia.lab.apiserver.resources import Registry
from cilia.lab.apiserver.route import resource_route
from cilia.lab.apiserver.tables import table
from cilia.lab.apiserver.tables.pods import pod_status

REGISTRY = Registry()


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for inner in node.values() for found in references(inner)]
    return (
        [found for inner in node for found in references(inner)] if isinstance(node, list) else []
    )


@pytest.mark.parametrize(
    ("group", "version"),
    [(group, version) for group, versions in REGISTRY.groups().items() for version in versions],
)
def test_every_reference_in_openapi_leads_somewhere(group: str, version: str) -> None:
    made = document(REGISTRY, group, version)

    schemas = made["components"]["schemas"]
    assert {name.rsplit("/", 1)[1] for name in references(made)} <= set(schemas)
    kinds = {
        entry["kind"] for schema in schemas.values()
        for entry in schema.get("x-kubernetes-group-version-kind", [])
    }  # fmt: skip
    served = {one.kind for one in REGISTRY.all() if (one.group, one.version) == (group, version)}
    assert served <= kinds


def test_both_forms_of_discovery_say_the_same() -> None:
    for core in (True, False):
        for entry in discovery.aggregated(REGISTRY, "v2", core=core)["items"]:
            group = entry["metadata"].get("name", "")
            for version in entry["versions"]:
                plain = discovery.resource_list(REGISTRY, group, version["version"])
                assert plain is not None
                names = {one["name"] for one in plain["resources"]}
                aggregated = {one["resource"] for one in version["resources"]} | {
                    f"{one['resource']}/{part['subresource']}"
                    for one in version["resources"]
                    for part in one.get("subresources", [])
                }
                assert aggregated == names


@pytest.mark.parametrize("resource", REGISTRY.all(), ids=lambda one: one.key)
def test_every_kind_has_a_table_even_of_an_empty_object(resource: Any) -> None:
    made = table(resource, [{"metadata": {"name": "x"}}], metadata={})

    assert len(made["rows"][0]["cells"]) == len(made["columnDefinitions"])


def status(**more: Any) -> Any:
    return {"metadata": {}, "spec": {"containers": [{}]}, "status": {"phase": "Running", **more}}


@pytest.mark.parametrize(
    ("pod", "word"),
    [
        (status(), "Running"),
        (status(phase="Pending"), "Pending"),
        (status(reason="Evicted", phase="Failed"), "Evicted"),
        (status(containerStatuses=[{"state": {"waiting": {"reason": "Bad"}}}]), "Bad"),
        (status(containerStatuses=[{"state": {"terminated": {"exitCode": 3}}}]), "ExitCode:3"),
        (status(containerStatuses=[{"state": {"terminated": {"reason": "Error"}}}]), "Error"),
        (status() | {"metadata": {"deletionTimestamp": "x"}}, "Terminating"),
        (
            status(initContainerStatuses=[{"state": {"running": {}}}])
            | {"spec": {"containers": [{}], "initContainers": [{}, {}]}},
            "Init:0/2",
        ),
    ],
)  # fmt: skip
def test_pod_status_words(pod: Any, word: str) -> None:
    assert pod_status(pod) == word


DOCUMENT = {
    "a": [{"t": "x", "v": 1, "n": 3}, {"t": "y", "v": 2, "n": 5}],
    "b": {"c.d": "dotted", "e": {"f": True}},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a[0].v", [1]),
        (".a[-1].v", [2]),
        (".a[*].v", [1, 2]),
        (".a[7].v", []),
        ('.a[?(@.t=="y")].v', [2]),
        (".a[?(@.t!='y')].v", [1]),
        (".a[?(@.n>4)].t", ["y"]),
        (".a[?(@.n)].t", ["x", "y"]),
        (r".b.c\.d", ["dotted"]),
        (".b['c.d']", ["dotted"]),
        ("{.b.e.f}", [True]),
        (".nope.x", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    assert parse(path).find(DOCUMENT) == found


@pytest.mark.parametrize("path", ["a", ".a[", ".a[?(@.x=]", ".a..b", ".a[1:2]"])
def test_other_json_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="JSON path"):
        parse(path)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("api/v1/pods", ("", "pods", "", "", "")),
        ("api/v1/namespaces/n/pods/p/log", ("", "pods", "n", "p", "log")),
        ("api/v1/namespaces/n", ("", "namespaces", "", "n", "")),
        ("api/v1/namespaces/n/status", ("", "namespaces", "", "n", "status")),
        ("apis/apps/v1/namespaces/n/deployments", ("apps", "deployments", "n", "", "")),
    ],
)
def test_routes(path: str, place: tuple[str, ...]) -> None:
    route = resource_route(path.split("/"))
    assert route is not None
    found = (route.group, route.plural, route.namespace, route.name, route.subresource)
    assert found == place


def field(number: int, value: bytes | int) -> bytes:
    """A field whose number is below 2048 and whose value is short."""
    wire = 0 if isinstance(value, int) else 2
    tag = number << 3 | wire
    head = bytes([tag]) if tag < 128 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return head + (bytes([value]) if isinstance(value, int) else bytes([len(value)]) + value)


def test_protobuf_is_read_as_its_json_would_be() -> None:
    port = field(1, b"web") + field(2, 0) + field(3, 80) + field(4, b"TCP") + field(5, b"")
    container = field(1, b"c") + field(2, b"img") + field(6, port) + field(16, 1)
    limits = field(1, b"cpu") + field(2, field(1, b"100m"))
    container += field(8, field(1, limits))
    spec = field(2, container) + field(4, 5)
    metadata = (
        field(1, b"p") + field(3, b"") + field(8, b"") + field(11, field(1, b"a") + field(2, b"b"))
    )
    pod = field(1, metadata) + field(2, spec) + field(3, b"")
    kind = field(1, b"v1") + field(2, b"Pod")
    raw = b"k8s\x00" + field(1, kind) + field(2, pod) + field(3, b"")

    assert decode_object(raw) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "image": "img",
                    "ports": [{"name": "web", "containerPort": 80, "protocol": "TCP"}],
                    "stdin": True,
                    "resources": {"limits": {"cpu": "100m"}},
                }
            ],
            "terminationGracePeriodSeconds": 5,
        },
    }
