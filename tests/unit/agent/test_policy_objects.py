"""Policies' statuses: each node's part, the sum, and no write that changes nothing."""

import asyncio
import datetime
from typing import Any, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cilia.agent.policy_objects import PolicyObjects, conditions, status_change, total
from cilia.state.policy_enforcements import PolicyEnforcement
from cilia.wire.kubernetes import ApiError, KubernetesClient

PATH = "/apis/cilium.io/v2/namespaces/shop/ciliumnetworkpolicies/p"
KEY = ("CiliumNetworkPolicy", "shop", "p", "")
NODES = ("node-1", "node-2")


class Cluster:
    """One object with a version; somebody else writes before the first `rivals` patches."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {
            "metadata": {"name": "p", "generation": 1, "resourceVersion": "1"}
        }
        self.writes = 0
        self.rivals = 0

    @property
    def status(self) -> dict[str, Any]:
        return cast(dict[str, Any], self.held["status"])

    async def get(self, path: str) -> dict[str, Any]:
        if path != PATH:
            raise ApiError(404, "NotFound", "not found")
        return self.held

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == f"{PATH}/status"
        if self.rivals:
            self.rivals -= 1
            self.touch()
        metadata = self.held["metadata"]
        if body["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ApiError(409, "Conflict", "changed meanwhile")
        self.writes += 1
        self.held = merge(self.held, {"status": body["status"]})
        self.touch()
        return self.held

    def touch(self) -> None:
        metadata = self.held["metadata"]
        version = str(int(metadata["resourceVersion"]) + 1)
        self.held = {**self.held, "metadata": {**metadata, "resourceVersion": version}}


def merge(held: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """JSON merge patch. Source: RFC 7396."""
    result = dict(held)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            below = result.get(name)
            result[name] = merge(below if isinstance(below, dict) else {}, value)
        else:
            result[name] = value
    return result


def target(cluster: Cluster, node: str = "node-1", nodes: tuple[str, ...] = NODES) -> PolicyObjects:
    return PolicyObjects(cast(KubernetesClient, cluster), node, lambda: nodes)


def row(*endpoints: str, missing: tuple[str, ...] = (), **facts: Any) -> PolicyEnforcement:
    return msgspec.structs.replace(
        PolicyEnforcement(KEY, 1, revision=7, endpoints=endpoints, missing=missing), **facts
    )


def write(target: PolicyObjects, *rows: PolicyEnforcement) -> None:
    for each in rows:
        assert not asyncio.run(target.update([each]))


def test_nodes_add_up_and_the_missing_endpoint_is_named() -> None:
    cluster = Cluster()
    write(target(cluster), row("shop/a", "shop/b", "shop/c"))
    assert cluster.status["enforced"] == "3/3"
    late = row("shop/d", "shop/e", missing=("shop/e",), reason="the endpoint is closed")
    write(target(cluster, "node-2"), late)
    assert cluster.status["enforced"] == "4/5"
    told = cluster.status["nodes"]["node-2"]
    assert told["missing"] == ["shop/e"]
    assert told["message"] == "not enforced by shop/e: the endpoint is closed"
    write(target(cluster, "node-2"), row("shop/d", "shop/e"))
    assert cluster.status["enforced"] == "5/5"
    assert set(cluster.status["nodes"]["node-2"]) == {
        "observedGeneration", "endpoints", "enforced", "revision",
    }  # fmt: skip


def test_what_is_written_is_not_written_again() -> None:
    cluster = Cluster()
    write(target(cluster), row("shop/a"), row("shop/a"))
    write(target(cluster, "node-2"), row(), row())
    assert cluster.writes == 1
    assert list(cluster.status["nodes"]) == ["node-1"]


def test_a_policy_that_selects_nobody_says_so() -> None:
    cluster = Cluster()
    write(target(cluster), row())
    assert cluster.status["enforced"] == "0/0"


def test_who_was_overtaken_reads_again() -> None:
    cluster = Cluster()
    cluster.rivals = 3
    write(target(cluster), row("shop/a"))
    assert cluster.status["enforced"] == "1/1"
    cluster.rivals = 1000
    failed = asyncio.run(target(cluster).update([row("shop/a", "shop/b")]))
    assert "tried again" in failed[0].message


def test_what_an_older_object_said_does_not_count_as_enforced() -> None:
    cluster = Cluster()
    write(target(cluster, "node-2"), row("shop/b"))
    cluster.held["metadata"]["generation"] = 2
    write(target(cluster), row("shop/a"))
    assert cluster.writes == 1, "a row about the older object is not written any more"
    write(target(cluster), row("shop/a", generation=2))
    assert cluster.status["enforced"] == "1/2"


def test_a_node_that_is_gone_is_taken_out() -> None:
    cluster = Cluster()
    write(target(cluster, "node-2"), row("shop/b"))
    write(target(cluster, nodes=("node-1",)), row("shop/a"))
    assert cluster.status["enforced"] == "1/1"
    assert list(cluster.status["nodes"]) == ["node-1"]


def test_conditions_are_written_once_and_their_time_moves_with_the_status_alone() -> None:
    first = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    later = first + datetime.timedelta(hours=1)

    def change(held: dict[str, Any], wanted: PolicyEnforcement) -> dict[str, Any]:
        return merge(held, status_change(held, wanted, "node-1", None, conditions(wanted, later)))

    good = row("shop/a")
    held = merge({}, status_change({}, good, "node-1", None, conditions(good, first)))
    assert status_change(held, good, "node-1", None, conditions(good, later)) == {}
    odd = change(held, row("shop/a", warnings=("spec.x is odd; do y",)))
    assert [(c["type"], c["status"]) for c in odd["conditions"]] == [
        ("Valid", "True"), ("Warning", "True"),
    ]  # fmt: skip
    assert odd["conditions"][0]["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    bad = change(odd, row("shop/a", error="spec.x: is wrong", missing=("shop/a",)))
    assert [(c["type"], c["status"], c["message"]) for c in bad["conditions"]] == [
        ("Valid", "False", "spec.x: is wrong")
    ]
    assert bad["conditions"][0]["lastTransitionTime"] == "2026-01-02T04:04:05Z"
    assert bad["enforced"] == "0/1"


def test_other_kinds_and_objects_that_are_gone_are_left_alone() -> None:
    cluster = Cluster()
    for key in (
        ("NetworkPolicy", "shop", "n", ""),
        ("CiliumNetworkPolicy", "shop", "gone", ""),
        (*KEY[:3], "file"),
    ):
        write(target(cluster), row("shop/a", key=key))
    assert cluster.writes == 0


PARTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=4)


@given(PARTS)
def test_the_sum_is_of_all_nodes(parts: list[tuple[int, int, bool]]) -> None:
    nodes = {
        f"node-{index}": {
            "observedGeneration": 3 if current else 2,
            "endpoints": enforced + behind,
            "enforced": enforced,
        }
        for index, (enforced, behind, current) in enumerate(parts)
    }
    enforced = sum(each for each, _, current in parts if current)
    assert total(nodes, 3) == f"{enforced}/{sum(a + b for a, b, _ in parts)}"
