"""Nodes get identities from their labels, and lose them when nobody has them any more."""

from cilia.identity.local import node_identities
from cilia.ipcache.claims import node_claims
from cilia.ipcache.nodes import NodeIdentities
from cilia.model.identities import Scope, scope_of
from cilia.state.nodes import Node
from cilia.state.tables import Tables


def node(name: str, address: str, **labels: str) -> Node:
    return Node(name, (address,), (), internal=(f"{address}9",), labels=tuple(labels.items()))


def test_nodes_that_carry_the_same_share_one_identity_in_all_their_addresses() -> None:
    tables = Tables()
    nodes = NodeIdentities(node_identities(tables.identities), "default")
    one, two, three = (
        node("n1", "10.0.0.1", disk="ssd"),
        node("n2", "10.0.0.2", disk="ssd"),
        node("n3", "10.0.0.3"),
    )
    found = nodes.place([one, two, three], ["10.0.0.3"])
    assert found["n1"] == found["n2"] != found["n3"]
    assert scope_of(found["n1"]) is Scope.REMOTE_NODE
    row, server = tables.identities.get(found["n1"]), tables.identities.get(found["n3"])
    assert row is not None
    assert server is not None
    assert row.labels == (
        "k8s:io.cilium.k8s.policy.cluster=default",
        "node:disk=ssd",
        "reserved:remote-node",
    )
    assert "reserved:kube-apiserver" in server.labels
    rows = node_claims(one, "here", (), found["n1"])
    assert {(str(row.prefix), row.identity) for row in rows} == {
        ("10.0.0.1/32", found["n1"]),
        ("10.0.0.19/32", found["n1"]),
    }


def test_a_relabelled_node_moves_and_its_old_identity_goes_once_nothing_leads_to_it() -> None:
    tables = Tables()
    nodes = NodeIdentities(node_identities(tables.identities), "default")
    before = nodes.place([node("n1", "10.0.0.1", disk="ssd")], [])["n1"]
    after = nodes.place([node("n1", "10.0.0.1", disk="hdd")], [])["n1"]
    assert after != before
    assert tables.identities.get(before) is not None
    nodes.let_go()
    assert tables.identities.get(before) is None
    nodes.place([], [])
    nodes.let_go()
    assert len(tables.identities) == 0


def test_the_local_node_is_the_host_whatever_its_labels() -> None:
    rows = node_claims(node("n1", "10.0.0.1", disk="ssd"), "n1", (), 0x02000001)
    assert {row.identity for row in rows} == {1}
