"""How far policies have got, with the kernel's endpoint rows in memory."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from cilia.agent import enforcement
from cilia.agent.enforcement import Enforcement
from cilia.datapath import layout
from cilia.policy.delta import Assignment
from cilia.policy.settings import PolicySettings
from cilia.runtime.clock import SystemClock
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.policies import PolicyObject
from cilia.state.policy_enforcements import PolicyEnforcement
from cilia.state.policy_statuses import PolicyStatus
from cilia.state.tables import Tables

ROW = np.dtype([("id", "<u4"), ("policy", "<u4"), ("flags", "<u4")])
READY = 1
KEY = ("CiliumNetworkPolicy", "shop", "p", "")
SPEC: dict[str, Any] = {"endpointSelector": {}, "ingress": [{}, {"fromEndpoints": [{}]}]}


class Node:
    """Two endpoints, and one policy that selects both."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layout, "constant", lambda name: READY)
        self.tables = Tables()
        self.kernel = {1: (5, READY), 2: (5, READY)}
        wanted = Assignment(5, 7, ingress_enforced=True, egress_enforced=False)
        self.policy = SimpleNamespace(
            engine=SimpleNamespace(assigned={1: wanted, 2: wanted}),
            sync=SimpleNamespace(error=""),
        )
        for number, name in ((1, "web"), (2, "db")):
            self.tables.endpoints.upsert(
                EndpointRow(
                    number,
                    "shop",
                    name,
                    "u",
                    f"c{number}",
                    "lxc",
                    number,
                    "",
                    "",
                    None,
                    None,
                    EndpointState.READY,
                )
            )
        document = {
            "kind": KEY[0],
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": SPEC,
        }
        text = msgspec.json.encode(document)
        self.tables.policies.upsert(PolicyObject(*KEY[:3], "u", 3, text))
        self.tables.policies.mark_synced()
        self.say(PolicyStatus(KEY, 3, revision=7, endpoints=(1, 2)))
        self.service = Enforcement(
            self.tables,
            cast(Any, self.policy),
            cast(Any, self),
            PolicySettings(),
            SystemClock(),
        )

    def say(self, status: PolicyStatus) -> None:
        self.tables.policy_statuses.upsert(status)

    def entries(self) -> tuple[Any, Any]:
        rows = [(number, *row) for number, row in self.kernel.items()]
        return None, np.array(rows, dtype=ROW)

    def look(self) -> PolicyEnforcement:
        self.service.look()
        found = self.tables.policy_enforcements.get(KEY)
        assert found is not None
        return found


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


def test_all_is_enforced(node: Node) -> None:
    row = node.look()
    assert (row.enforced, row.endpoints, row.missing) == (2, ("shop/db", "shop/web"), ())
    assert (row.generation, row.revision, row.rules, row.reason) == (3, 7, 2, "")
    assert node.tables.policy_enforcements.synced.is_set()


@pytest.mark.parametrize(
    ("held", "why"),
    [((4, READY), "earlier policy"), ((5, 0), "closed"), (None, "closed")],
)
def test_an_endpoint_whose_row_says_otherwise_is_named(
    node: Node, held: tuple[int, int] | None, why: str
) -> None:
    if held is None:
        del node.kernel[2]
    else:
        node.kernel[2] = held
    row = node.look()
    assert (row.enforced, row.missing) == (1, ("shop/db",))
    assert why in row.reason


def test_a_kernel_that_refuses_is_the_reason(node: Node) -> None:
    node.policy.sync.error = "update map policy: no space"
    node.kernel[1] = (0, READY)
    assert node.look().reason == "update map policy: no space"


def test_a_refused_object_is_enforced_nowhere(node: Node) -> None:
    node.say(PolicyStatus(KEY, 3, "spec: is wrong", 7, (1, 2)))
    row = node.look()
    assert (row.error, row.enforced) == ("spec: is wrong", 0)


def test_what_is_odd_is_said_until_the_object_changes(node: Node) -> None:
    assert "spec.ingress[0] is empty" in node.look().warnings[0]
    document = {
        "kind": KEY[0],
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {**SPEC, "ingress": [{}]},
    }
    node.tables.policies.upsert(PolicyObject(*KEY[:3], "u", 4, msgspec.json.encode(document)))
    assert node.look().warnings == ()


def test_a_row_that_changes_in_the_kernel_is_seen(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enforcement, "LOOK_S", 0.01)
    monkeypatch.setattr(enforcement, "BEHIND_S", 0.01)
    monkeypatch.setattr(enforcement, "GATHER_S", 0.0)

    async def scene() -> None:
        with node.tables.policy_enforcements.watch() as watch:
            task = asyncio.create_task(node.service.run(asyncio.Event()))
            seen = []
            async with asyncio.timeout(20):
                for policy in (5, 4, 5):
                    node.kernel[1] = (policy, READY)
                    while (await anext(watch)).changes == []:
                        pass
                    row = node.tables.policy_enforcements.get(KEY)
                    seen.append(row.enforced if row is not None else None)
            task.cancel()
        assert seen == [2, 1, 2]

    asyncio.run(scene())


def test_many_new_objects_are_read_a_few_at_a_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enforcement, "READ_AT_ONCE", 2)
    text = node.tables.policies.snapshot()[0].text
    for index in range(4):
        key = (KEY[0], "shop", f"p{index}", "")
        node.tables.policies.upsert(PolicyObject(*key[:3], "u", 3, text))
        node.say(PolicyStatus(key, 3, revision=7, endpoints=(1,)))
    table = node.tables.policy_enforcements
    counts = []
    for _ in range(3):
        node.service.look()
        counts.append((len(table), table.synced.is_set()))
    assert counts == [(2, False), (4, False), (5, True)]
