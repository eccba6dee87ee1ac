"""Events about policies: what is told, once, and of which object."""

import asyncio
import datetime
from typing import Any, cast

import msgspec

from cilia.agent.policy_events import MESSAGE_BYTES, PolicyEvents, event_of, told_of
from cilia.state.policies import PolicyObject, table
from cilia.state.policy_enforcements import PolicyEnforcement
from cilia.wire.kubernetes import ApiError, ApiUnreachable, KubernetesClient

KEY = ("CiliumNetworkPolicy", "shop", "p", "")
OBJECT = PolicyObject("CiliumNetworkPolicy", "shop", "p", "uid-1", 1, b"{}")
NOW = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)


class Server:
    """Keeps events by name, as every node sees them."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.asked = 0
        self.refuses: ApiError | None = None

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.refuses:
            raise self.refuses
        name = f"{path}/{body['metadata']['name']}"
        if name in self.held:
            raise ApiError(409, "AlreadyExists", "already exists")
        self.held[name] = body
        return body

    @property
    def messages(self) -> list[tuple[str, str]]:
        return [(one["reason"], one["message"]) for one in self.held.values()]


def target(server: Server, node: str = "node-1", held: PolicyObject = OBJECT) -> PolicyEvents:
    policies = table()
    policies.upsert(held)
    return PolicyEvents(cast(KubernetesClient, server), node, policies)


def row(**facts: Any) -> PolicyEnforcement:
    return msgspec.structs.replace(PolicyEnforcement(KEY, 1), **facts)


def tell(target: PolicyEvents, *rows: PolicyEnforcement) -> None:
    assert asyncio.run(_update(target, rows)) == []


async def _update(target: PolicyEvents, rows: tuple[PolicyEnforcement, ...]) -> Any:
    return await target.update(rows)


def test_a_policy_that_is_well_is_nothing_to_tell_of():
    server = Server()
    tell(target(server), row(endpoints=("a", "b")), row(endpoints=("a",), missing=("a",)))
    assert server.held == {}


def test_refusals_and_oddities_are_told_once_by_whichever_node():
    server = Server()
    nodes = [target(server), target(server, "node-2")]
    for node in nodes:
        tell(node, row(error="spec.ingres: is not known; did you mean ingress?"))
        tell(node, row(warnings=("port 0", "matches nothing"), generation=2))
    assert server.messages == [
        ("PolicyRefused", "spec.ingres: is not known; did you mean ingress?"),
        ("PolicySuspicious", "port 0"),
        ("PolicySuspicious", "matches nothing"),
    ]
    asked = server.asked
    tell(nodes[0], row(warnings=("port 0", "matches nothing"), generation=2, revision=9))
    assert server.asked == asked, "nothing is asked of the API server when nothing is new"


def test_what_the_kernel_refuses_is_told_by_each_node_with_its_endpoints():
    server = Server()
    for node in ("node-1", "node-2"):
        missing = row(missing=("shop/a",), endpoints=("shop/a", "shop/b"), reason="map policy full")
        tell(target(server, node), missing, msgspec.structs.replace(missing, is_stuck=True))
    assert server.messages == [
        ("PolicyNotEnforced", f"map policy full; not enforced on node-{n} by shop/a")
        for n in (1, 2)
    ]
    hosts = [one["source"].get("host") for one in server.held.values()]
    assert hosts == ["node-1", "node-2"]


def test_an_event_is_about_its_object():
    (told,) = told_of(row(error="é" * MESSAGE_BYTES), "node-1")
    event = event_of(told, OBJECT, 1, NOW)
    assert event["involvedObject"] == {
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "namespace": "shop", "name": "p", "uid": "uid-1",
    }  # fmt: skip
    assert len(event["message"].encode()) <= MESSAGE_BYTES
    wide = PolicyObject("CiliumClusterwideNetworkPolicy", "", "p" * 253, "uid-2", 1, b"{}")
    event = event_of(told, wide, 1, NOW)
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]
    assert len(event["metadata"]["name"]) <= 253


def test_who_may_not_tell_goes_on_and_who_finds_nobody_tries_again():
    server = Server()
    server.refuses = ApiError(403, "Forbidden", "may not create events")
    tell(target(server), row(error="e"))
    away = target(server)
    server.refuses = cast(ApiError, ApiUnreachable("gone"))
    (failed,) = asyncio.run(_update(away, (row(error="e"),)))
    assert failed.key == KEY
    server.refuses = None
    tell(away, row(error="e"))
    assert server.messages == [("PolicyRefused", "e")]


def test_a_file_has_no_object_to_tell_of():
    server = Server()
    held = msgspec.structs.replace(OBJECT, source="file")
    tell(target(server, held=held), row(key=held.key, error="e"))
    assert server.asked == 0
