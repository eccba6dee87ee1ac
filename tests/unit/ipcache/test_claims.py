"""Claims: the strongest source wins, and a late farewell takes nothing from a new owner."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.ipcache.claims import (
    Claims,
    Source,
    address_key,
    api_labels,
    endpoint_claims,
    node_claims,
    pod_network_claims,
    world_claims,
)
from cilia.model.errors import InvalidValue
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.ipcache import IpcacheRow
from cilia.state.nodes import Node

KEYS = [address_key(f"10.0.0.{n}") for n in range(3)]

steps = st.lists(
    st.tuples(
        st.sampled_from(list(Source)),
        st.sampled_from("ab"),
        st.dictionaries(st.sampled_from(KEYS), st.integers(1, 2), max_size=2),
    ),
    max_size=20,
)


@given(steps)
def test_the_winner_is_the_strongest_living_claim(
    told: list[tuple[Source, str, dict[bytes, int]]],
) -> None:
    claims = Claims()
    living: dict[tuple[Source, str], list[IpcacheRow]] = {}
    newest: dict[tuple[Source, bytes], IpcacheRow] = {}
    for source, owner, wanted in told:
        rows = [IpcacheRow(key, identity, name=owner) for key, identity in wanted.items()]
        old = living.get((source, owner), [])
        claims.claim(source, old, rows)
        for row in old:
            if newest.get((source, row.key)) == row and row.key not in wanted:
                del newest[source, row.key]
        for row in rows:
            newest[source, row.key] = row
        living[source, owner] = rows
    for key in KEYS:
        expected = next((newest[s, key] for s in Source if (s, key) in newest), None)
        assert claims.winner(key) == expected


def test_a_pod_without_an_identity_claims_nothing() -> None:
    pod = EndpointRow(
        id=1,
        namespace="default",
        pod="xwing",
        uid="",
        container="",
        ifname="lxc1",
        ifindex=7,
        mac="",
        host_mac="",
        v4="10.0.1.5",
        v6="fd00::5",
        state=EndpointState.WAITING_FOR_IDENTITY,
    )
    assert endpoint_claims(pod) == []
    assert endpoint_claims(None) == []


@pytest.mark.parametrize(
    ("name", "api", "identity"), [("here", [], 1), ("there", [], 6), ("there", ["fd00::9"], 7)]
)
def test_a_node_is_host_or_remote_or_an_api_server(
    name: str, api: list[str], identity: int
) -> None:
    node = Node(name, ("172.30.0.12", "fd00::9"), (), internal=("10.0.2.1",))
    rows = node_claims(node, "here", api)
    assert {row.identity for row in rows} == {identity}
    assert {str(row.prefix) for row in rows} == {"172.30.0.12/32", "fd00::9/128", "10.0.2.1/32"}
    assert {row.node for row in rows} == ({""} if name == "here" else {"172.30.0.12"})


def test_the_world_has_one_name_a_family_only_in_a_dual_stack_cluster() -> None:
    assert [row.identity for row in world_claims(dual_stack=True)] == [9, 10]
    assert [row.identity for row in world_claims(dual_stack=False)] == [2, 2]
    assert api_labels("1.2.3.4", dual_stack=True) == (
        "cidr:1.2.3.4/32",
        "reserved:kube-apiserver",
        "reserved:world-ipv4",
    )


@given(st.text(max_size=12))
def test_what_is_no_address_is_refused(text: str) -> None:
    try:
        key = address_key(text)
    except InvalidValue:
        return
    assert len(key) == 17


def test_a_pod_address_without_a_row_is_not_of_the_world() -> None:
    rows = [
        *world_claims(dual_stack=True),
        *pod_network_claims([ip_network("10.0.0.0/16"), ip_network("fd00:10::/48")]),
    ]

    def identity_of(text: str) -> int:
        """The longest prefix decides, as in the kernel."""
        wanted = int.from_bytes(address_key(text)[:16])
        covering = [
            row
            for row in rows
            if wanted >> (128 - row.key[16]) == int.from_bytes(row.key[:16]) >> (128 - row.key[16])
        ]
        return max(covering, key=lambda row: row.key[16]).identity

    assert [identity_of(text) for text in ("10.0.7.7", "fd00:10:0:9::1")] == [3, 3]
    assert [identity_of(text) for text in ("10.1.0.1", "fd00:11::1")] == [9, 10]
