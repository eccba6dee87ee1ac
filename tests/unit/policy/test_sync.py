"""Deltas in the kernel's maps: in order, closed where there is no room, and recovered."""

import numpy as np

from cilia.policy.delta import members_of, rows_of
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.hints import Hints, read_hints, write_hints
from cilia.policy.sources import parse_policy
from cilia.policy.sync import PolicySync

from ..fake_map import FakeMap  # noqa: TID252

KEY = [("prefixlen", "<u4"), ("policy", "<u4"), ("class", "<u4"), ("direction", "u1"),
       ("protocol", "u1"), ("port", ">u2")]  # fmt: skip
VALUE = [("precedence", "<u4"), ("provenance", "<u4"), ("generation", "<u4"),
         ("staged_provenance", "<u4"), ("verdict", "u1"), ("staged_verdict", "u1"),
         ("prefixlen", "u1"), ("pad", "u1"), ("proxy_port", ">u2"), ("pad2", "<u2")]  # fmt: skip


class FakePrefixes:
    def __init__(self):
        self.addresses = {}
        self.keys = None
        self.columns = np.zeros(0, "S17"), np.zeros(0, "u4"), np.zeros(0, "u4")

    def held(self):
        return self.columns

    def assign_prefixes(self, keys, identities, classes):
        self.keys = keys
        self.columns = keys, identities, classes

    def classify_addresses(self, keys, identities, classes, *, gone):
        told = dict(
            zip(keys.tolist(), zip(identities.tolist(), classes.tolist(), strict=True), strict=True)
        )
        kept = {} if gone is None else self.addresses
        lost = [] if gone is None else gone.tolist()
        self.addresses = {k: v for k, v in kept.items() if k not in lost} | told


class FakeEndpoints:
    def __init__(self):
        self.rows = {}

    def policy_numbers(self):
        return {row.policy for row in self.rows.values()}

    def assign(self, assignments):
        self.rows.update(assignments)


class Node:
    """An engine and the maps of one kernel."""

    def __init__(self, maps=None, hints=None):
        self.rows, self.classes = maps or (FakeMap(KEY, VALUE), FakeMap("<u4", "<u4"))
        self.prefixes, self.endpoints = FakePrefixes(), FakeEndpoints()
        self.sync = PolicySync(self.rows, self.classes, self.prefixes, self.endpoints)
        self.engine = PolicyEngine(hints=self.sync.observed(hints or Hints()))
        for number, app in enumerate(("web", "db", "job"), 1000):
            self.engine.set_identity(number, _labels(app))
        self.engine.set_endpoint(1, Endpoint(1000))
        self.engine.set_endpoint(2, Endpoint(1001))

    def commit(self):
        return self.sync.apply(self.engine.commit())


def _labels(app):
    return (
        f"k8s:app={app}",
        "k8s:io.cilium.k8s.policy.cluster=default",
        "k8s:io.kubernetes.pod.namespace=default",
    )


def policy(name, app, ports):
    entry = {
        "fromEndpoints": [{"matchLabels": {"app": "job"}}],
        "toPorts": [{"ports": [{"port": str(p), "protocol": "TCP"} for p in ports]}],
    }
    spec = {"endpointSelector": {"matchLabels": {"app": app}}, "ingress": [entry]}
    return parse_policy({"kind": "CiliumNetworkPolicy", "metadata": {"name": name}, "spec": spec})


def test_rows_reach_the_maps_in_their_own_layout():
    node = Node()
    node.engine.set_policy(policy("p", "web", [80]))
    assert node.commit()
    keys, values = node.rows.entries()
    port = keys["port"] == 80
    assert keys["prefixlen"][port].tolist() == [96]
    assert values["verdict"][port].tolist() == [1]
    assert node.endpoints.rows[1].ingress_enforced
    assert not node.endpoints.rows[2].ingress_enforced


def test_a_full_map_closes_what_changes_and_leaves_the_rest():
    node = Node()
    node.engine.set_policy(policy("p", "web", [80]))
    assert node.commit()
    before = dict(node.rows.rows)
    node.rows.limit = len(before) + 2
    node.engine.set_policy(policy("q", "db", range(1, 30, 2)))
    assert not node.commit()
    assert "No space left" in node.sync.error
    assert node.rows.rows == before
    closed = node.endpoints.rows[2]
    assert (closed.policy, closed.ingress_enforced, closed.egress_enforced) == (0, True, True)
    assert node.endpoints.rows[1].policy != 0
    assert not node.sync.replace(node.engine.state())
    assert node.endpoints.rows[2] is closed, "what is closed is not written again"


def test_with_room_again_the_whole_state_comes_back():
    node = Node()
    node.commit()
    node.rows.limit = 2
    node.engine.set_policy(policy("q", "db", [1, 3, 5]))
    assert not node.commit()
    assert not node.sync.replace(node.engine.state())
    node.rows.limit = 100
    assert node.sync.replace(node.engine.state())
    assert node.sync.error == ""
    assert node.endpoints.rows[2] == node.engine.assigned[2]
    assert len(node.rows.rows) == 4


def test_a_new_engine_takes_no_number_that_the_kernel_uses_and_prunes_the_rest():
    node = Node()
    node.engine.set_policy(policy("p", "web", [80]))
    node.commit()
    old_keys = node.rows.entries()[0]
    again = Node((node.rows, node.classes))
    again.engine.set_policy(policy("p", "web", [80]))
    again.commit()
    again.sync.prune(again.engine.state())
    keys = again.rows.entries()[0]
    assert not set(keys["policy"]) & set(old_keys["policy"])
    assert len(keys) == len(old_keys)
    assert again.engine.revision > node.engine.revision


def test_with_hints_a_new_engine_gives_the_same_classes():
    node = Node()
    node.engine.set_policy(policy("p", "web", [80]))
    node.commit()
    again = Node((node.rows, node.classes), node.engine.hints())
    again.engine.set_policy(policy("p", "web", [80]))
    before = dict(node.classes.rows)
    again.commit()
    assert again.classes.rows == before


def test_pruning_says_which_prefixes_there_are_even_when_there_are_none():
    node = Node()
    node.commit()
    assert node.prefixes.keys is None
    node.sync.prune(node.engine.state())
    assert len(node.prefixes.keys) == 0


def test_a_whole_state_takes_away_prefixes_that_are_gone():
    node = Node()
    spec = {"endpointSelector": {}, "egress": [{"toCIDR": ["10.0.0.0/8"]}]}
    found = parse_policy({"kind": "CiliumNetworkPolicy", "metadata": {"name": "c"}, "spec": spec})
    node.engine.set_policy(found)
    node.commit()
    assert len(node.prefixes.keys) == 1
    node.engine.delete_policy(found.key)
    node.engine.commit()
    assert node.sync.replace(node.engine.state())
    assert len(node.prefixes.keys) == 0


def test_hints_survive_a_file(tmp_path):
    hints = Hints(secret=b"s", classes={"ff": 3}, next_class=4, next_policy=7)
    write_hints(tmp_path / "policy.json", hints)
    assert read_hints(tmp_path / "policy.json") == hints
    assert read_hints(tmp_path / "none.json") == Hints()


def deny_job():
    spec = {
        "endpointSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"fromEntities": ["all"]}],
        "ingressDeny": [{"fromEndpoints": [{"matchLabels": {"app": "job"}}]}],
    }
    return parse_policy({"kind": "CiliumNetworkPolicy", "metadata": {"name": "d"}, "spec": spec})


def restarted(node):
    again = Node((node.rows, node.classes))
    again.prefixes.columns = node.prefixes.columns
    again.engine.set_policy(deny_job())
    return again


def test_a_restart_leaves_exactly_the_new_state():
    node = Node()
    node.engine.set_policy(deny_job())
    node.commit()
    again = restarted(node)
    assert again.sync.apply(again.engine.take_over(again.sync.held()))
    left = again.sync.held()
    state = again.engine.state()
    assert sorted(left.rows.tolist()) == sorted(rows_of(state).tolist())
    assert sorted(left.members.tolist()) == sorted(members_of(state).tolist())
    assert again.endpoints.rows == again.engine.assigned


def test_a_restart_without_room_closes_and_then_comes_back():
    node = Node()
    node.engine.set_policy(deny_job())
    node.commit()
    node.rows.limit = len(node.rows.rows) + 1
    again = restarted(node)
    assert not again.sync.apply(again.engine.take_over(again.sync.held()))
    assert {row.policy for row in again.endpoints.rows.values()} == {0}
    assert all(row.ingress_enforced for row in again.endpoints.rows.values())
    assert again.sync.replace(again.engine.state())
    assert again.endpoints.rows == again.engine.assigned
