"""Our definitions: whole, refused nonsense by their schemas, never put over newer ones."""

import asyncio
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator

from cilia.agent.definitions import (
    FIRST,
    VERSION,
    VERSION_LABEL,
    Definitions,
    definition_names,
    read_definition,
)
from cilia.wire.kubernetes import ApiError, ApiUnreachable, KubernetesClient


class Cluster:
    """Definitions by name; may be away for a while."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.away = 0
        self.created: list[str] = []

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        if self.away:
            self.away -= 1
            raise ApiUnreachable("away")
        name = path.rpartition("/")[2]
        return self.held[name] if name in self.held else {"items": list(self.held.values())}

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        if name in self.held:
            raise ApiError(409, "AlreadyExists", "there")
        self.created.append(name)
        return await self.replace(f"{path}/{name}", body)

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        metadata = {**body["metadata"], "resourceVersion": "1"}
        self.held[path.rpartition("/")[2]] = {**body, "metadata": metadata}
        return body


def install(cluster: Cluster) -> Definitions:
    async def scene() -> Definitions:
        definitions = Definitions(cast(KubernetesClient, cluster))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            task = group.create_task(definitions.run(ready))
            await ready.wait()
            while definitions.missing:
                await asyncio.sleep(0)
            task.cancel()
        return definitions

    return asyncio.run(scene())


def test_all_are_installed_and_the_agents_own_come_first() -> None:
    cluster = Cluster()
    cluster.away = 1
    install(cluster)
    assert cluster.created[: len(FIRST)] == [f"{name}.cilium.io" for name in FIRST]
    assert len(cluster.created) == len(definition_names())


def test_an_older_one_is_upgraded_and_a_newer_one_left_alone() -> None:
    cluster = Cluster()
    for plural, version in (("ciliumnodes", "1.31.9"), ("ciliumendpoints", "1.99.0")):
        name = f"{plural}.cilium.io"
        cluster.held[name] = {
            "metadata": {"name": name, "labels": {VERSION_LABEL: version}, "resourceVersion": "1"}
        }
    install(cluster)
    label = {n: d["metadata"]["labels"][VERSION_LABEL] for n, d in cluster.held.items()}
    assert label["ciliumnodes.cilium.io"] == VERSION
    assert label["ciliumendpoints.cilium.io"] == "1.99.0"


@pytest.mark.parametrize("plural", definition_names())
def test_a_definition_is_whole(plural: str) -> None:
    made = read_definition(plural)
    assert made["metadata"]["name"] == f"{plural}.cilium.io"
    assert sum(version["storage"] for version in made["spec"]["versions"]) == 1
    for version in made["spec"]["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        assert schema["type"] == "object"
        Draft202012Validator.check_schema(schema)


RULE = {"endpointSelector": {}, "ingress": [{}]}


@pytest.mark.parametrize(
    ("spec", "valid"),
    [
        (RULE, True),
        ({**RULE, "ingress": [{"fromEntities": ["world"]}]}, True),
        ({**RULE, "ingress": [{"fromEntities": ["everybody"]}]}, False),
        ({**RULE, "nodeSelector": {}}, False),
        ({"endpointSelector": {}}, False),
        ({**RULE, "ingress": [{"toPorts": [{"ports": [{"port": 80}]}]}]}, False),
        ({**RULE, "egress": "none"}, False),
    ],
)
def test_the_policy_schema_refuses_nonsense(spec: dict[str, Any], valid: bool) -> None:
    version = read_definition("ciliumnetworkpolicies")["spec"]["versions"][0]
    validator = Draft202012Validator(version["schema"]["openAPIV3Schema"])
    assert validator.is_valid({"metadata": {}, "spec": spec}) == valid
