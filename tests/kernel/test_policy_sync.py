"""Deltas in the kernel's own maps: what the engine believes is what can be read back."""

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import numpy as np
import pytest

from cilia.datapath import layout
from cilia.datapath.maps.endpoints import EndpointEntry, EndpointMap, EndpointVerdict
from cilia.datapath.maps.ipcache import IpcacheMap
from cilia.ipcache import KernelIpcache
from cilia.kernel.maps import Map, MapKind
from cilia.model.rules import PolicyKey
from cilia.policy.delta import Assignment, members_of, prefixes_of, rows_of
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.hints import Hints
from cilia.policy.sources import parse_policy
from cilia.policy.sync import PolicySync
from cilia.state.tables import Tables

NO_PREALLOC = 1
KINDS = {
    "policy": (MapKind.LPM_TRIE, NO_PREALLOC),
    "policy_class": (MapKind.HASH, NO_PREALLOC),
    "ipcache": (MapKind.LPM_TRIE, NO_PREALLOC),
    "endpoint": (MapKind.HASH, 0),
    "endpoint_addr": (MapKind.HASH, 0),
}
ROOM = 512
PODS = {1: 1000, 2: 1001, 3: 1002}
LABELS = {1000: "web", 1001: "db", 1002: "job", 1003: "web", 1004: "cache"}


@pytest.fixture
def maps() -> Iterator[dict[str, Map]]:
    """The maps that policy writes, empty, in the datapath's layouts."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Map.create(kind, name, *layout.map_types(name), ROOM, flags))
            for name, (kind, flags) in KINDS.items()
        }


class Rows:
    """The endpoints' rows; an endpoint's interface has its own number."""

    def __init__(self, maps: dict[str, Map]) -> None:
        self.map = EndpointMap(maps)

    def policy_numbers(self) -> set[int]:
        return {row.policy for row in self.map.entries()}

    def assign(self, assignments: dict[int, Assignment]) -> None:
        self.map.open(
            [
                EndpointVerdict(
                    number,
                    PODS[number],
                    one.policy,
                    one.generation,
                    one.ingress_enforced,
                    one.egress_enforced,
                    one.audit,
                )
                for number, one in assignments.items()
            ]
        )

    def read(self) -> dict[int, Assignment]:
        found = {}
        for row in self.map.entries():
            enforced = (row.ingress_enforced, row.egress_enforced)
            found[row.id] = Assignment(row.policy, row.generation, *enforced, row.audit)
        return found


class Node:
    """One agent's engine on these maps."""

    def __init__(self, maps: dict[str, Map], hints: Hints | None = None) -> None:
        self.rows = Rows(maps)
        ipcache = KernelIpcache(IpcacheMap(maps), Tables().ipcache)
        self.sync = PolicySync(maps["policy"], maps["policy_class"], ipcache, self.rows)
        self.engine = PolicyEngine(hints=self.sync.observed(hints or Hints()))
        for number, app in LABELS.items():
            self.engine.set_identity(number, _labels(app))
        for number, identity in PODS.items():
            self.engine.set_endpoint(number, Endpoint(identity))

    def commit(self) -> None:
        assert self.sync.apply(self.engine.commit()), self.sync.error
        self.check()

    def check(self) -> None:
        """The maps hold what the engine's state says, and nothing else."""
        held, state = self.sync.held(), self.engine.state()
        rows, wanted = held.rows.copy(), rows_of(state)
        # A row keeps the generation of the commit that wrote it; the state says today's.
        rows["generation"] = wanted["generation"] = 0
        assert sorted(rows.tolist()) == sorted(wanted.tolist())
        assert sorted(held.members.tolist()) == sorted(members_of(state).tolist())
        assert sorted(held.prefixes.tolist()) == sorted(prefixes_of(state).tolist())
        assert self.rows.read() == self.engine.assigned


def _labels(app: str) -> tuple[str, ...]:
    return (
        f"k8s:app={app}",
        "k8s:io.cilium.k8s.policy.cluster=default",
        "k8s:io.kubernetes.pod.namespace=default",
    )


@pytest.fixture
def node(maps: dict[str, Map]) -> Node:
    """An agent with three pods, closed yet."""
    one = Node(maps)
    one.rows.map.write(
        [
            EndpointEntry(
                number, number, ip_address(f"10.0.1.{number}"), ip_address(f"fd00::{number}"),
                "02:00:00:00:00:01", "02:00:00:00:00:02", identity,
            )
            for number, identity in PODS.items()
        ]
    )  # fmt: skip
    return one


def policy(name: str, app: str, **spec: object) -> object:
    """A policy of the pods of one app."""
    document = {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"endpointSelector": {"matchLabels": {"app": app}}, **spec},
    }
    return parse_policy(document)


def from_apps(*apps: str) -> dict[str, object]:
    return {"fromEndpoints": [{"matchLabels": {"app": app}} for app in apps]}


WEB = policy(
    "web", "web",
    ingress=[
        {**from_apps("db"), "toPorts": [{"ports": [{"port": "80", "endPort": 443}]}]},
        {"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]},
    ],
    ingressDeny=[from_apps("job")],
)  # fmt: skip
DB = policy("db", "db", egress=[{"toCIDR": ["192.0.2.0/24", "2001:db8::/32", "::/1"]}])
KEY = PolicyKey("CiliumNetworkPolicy", "default", "web")


def test_every_change_can_be_read_back(node: Node) -> None:
    node.commit()
    node.engine.set_policy(WEB)
    node.commit()
    node.engine.set_policy(DB)
    node.engine.set_identity(1005, _labels("db"))
    node.commit()
    node.engine.set_identity(1003, _labels("job"))
    node.engine.delete_identity(1004)
    node.commit()
    node.engine.set_policy(policy("web", "web", ingress=[from_apps("cache")]))
    node.commit()
    node.engine.delete_policy(KEY)
    node.commit()


@pytest.mark.parametrize("keeps_hints", [True, False])
def test_a_restart_on_the_maps_of_the_last_agent_can_be_read_back(
    maps: dict[str, Map], node: Node, keeps_hints: bool
) -> None:
    node.engine.set_policy(WEB)
    node.engine.set_policy(DB)
    node.commit()
    numbers = {a.policy for a in node.rows.read().values()}
    again = Node(maps, node.engine.hints() if keeps_hints else None)
    again.engine.set_policy(DB)
    again.engine.set_policy(policy("web", "web", ingressDeny=[from_apps("job", "cache")]))
    assert again.sync.apply(again.engine.take_over(again.sync.held())), again.sync.error
    again.sync.prune(again.engine.state())
    again.check()
    assert not numbers & {a.policy for a in again.rows.read().values()}
    again.engine.delete_policy(KEY)
    again.commit()


def odd_ports(lists: int) -> list[dict[str, object]]:
    """So many lists of 40 ports that no two of share a row."""
    ports = [{"port": str(port), "protocol": "TCP"} for port in range(1, 80 * lists, 2)]
    return [{"ports": ports[at : at + 40]} for at in range(0, len(ports), 40)]


def test_a_full_map_closes_the_pods_it_concerns_and_room_opens_them(
    maps: dict[str, Map], node: Node
) -> None:
    node.engine.set_policy(WEB)
    node.commit()
    before = np.sort(node.sync.held().rows)
    node.engine.set_policy(policy("db", "db", ingress=[{"toPorts": odd_ports(13)}]))
    assert not node.sync.apply(node.engine.commit())
    assert "policy" in node.sync.error
    assert np.array_equal(np.sort(node.sync.held().rows), before)
    assert node.rows.read()[2].policy == 0
    assert node.rows.read()[1].policy != 0
    node.engine.set_policy(policy("db", "db", ingress=[{"toPorts": odd_ports(1)}]))
    node.engine.commit()
    assert node.sync.replace(node.engine.state()), node.sync.error
    node.check()
