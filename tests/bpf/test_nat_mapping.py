"""Mappings: how they last, move, and make room."""

from collections.abc import Callable

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet

from bpf.harness import C, Datapath, address_bytes
from bpf.outside import LEAVES, left_as, port_of, receive, send


def age(host: Datapath) -> None:
    """Nobody has used any mapping since the machine started."""
    keys, values = host.maps["nat"].entries()
    values["last_seen"] = 1
    host.maps["nat"].put(keys, values)


def nat_key(host: Datapath, version: int, pod_port: int, direction: str) -> tuple[bytes, ...]:
    """A key of the mapping of pod a's connection to port 53 of the world."""
    source = "a" if direction == "NAT_OUT" else "world"
    destination = "world" if direction == "NAT_OUT" else "node"
    ports = (pod_port, 53) if direction == "NAT_OUT" else (53, pod_port)
    return (
        address_bytes(host.address(source, version)),
        address_bytes(host.address(destination, version)),
        *ports,
        17,
        C[direction],
        0,
    )


def test_a_mapping_that_lost_one_half_gets_it_back(host: Datapath, version: int) -> None:
    packet = host.frame(version, "a", "world") / UDP(sport=40000, dport=53)
    send(host, packet)
    nat = host.maps["nat"]
    age(host)
    assert nat.delete(nat_key(host, version, 40000, "NAT_IN"))

    assert port_of(send(host, packet).packet) == 40000

    assert nat.count() == 2
    assert all(nat.entries()[1]["last_seen"] > 1)


def test_a_mapping_whose_port_was_taken_meanwhile_moves(host: Datapath, version: int) -> None:
    packet = host.frame(version, "a", "world") / UDP(sport=40000, dport=53)
    send(host, packet)
    nat = host.maps["nat"]
    row = nat.lookup(nat_key(host, version, 40000, "NAT_IN"))
    row["address"], row["port"] = address_bytes(host.address("b", version)), 1
    age(host)
    nat.update(nat_key(host, version, 40000, "NAT_IN"), row)

    assert port_of(send(host, packet).packet) != 40000


def test_a_node_that_changed_its_address_maps_anew(host: Datapath, version: int) -> None:
    packet = host.frame(version, "a", "world") / UDP(sport=40000, dport=53)
    send(host, packet)
    nat = host.maps["nat"]
    key = nat_key(host, version, 40000, "NAT_OUT")
    row = nat.lookup(key)
    row["address"] = address_bytes("192.0.2.1")
    nat.update(key, row)

    expected = host.frame(version, "node", "world") / UDP(sport=40000, dport=53)
    assert left_as(send(host, packet), expected)


@pytest.fixture
def narrow(load: Callable[..., Datapath]) -> Datapath:
    """A node with two ports, both in use by pod a."""
    host = load("host", nat_port_min=50000, nat_port_max=50001)
    for version in (4, 6):
        for port in (1, 2):
            assert send(host, asks(host, version, "a", port)).action == LEAVES
    return host


def asks(host: Datapath, version: int, who: str, port: int) -> Packet:
    """A question to the world's port 53."""
    return host.frame(version, who, "world") / UDP(sport=port, dport=53)


def keep_connections(host: Datapath, version: int) -> None:
    """Conntrack knows both connections of pod a; one entry holds both directions."""
    for port in (1, 2):
        receive(host, host.frame(version, "world", "a") / UDP(sport=53, dport=port))


def test_a_silent_connection_that_conntrack_knows_keeps_its_port(
    narrow: Datapath, version: int
) -> None:
    keep_connections(narrow, version)
    age(narrow)

    result = send(narrow, asks(narrow, version, "b", 3))

    assert result.drop_reason == C["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"]


def test_a_port_whose_connection_is_over_is_given_away(narrow: Datapath, version: int) -> None:
    keep_connections(narrow, version)
    age(narrow)
    narrow.edit_connections(expires_s=0)
    before = narrow.maps["nat"].count()

    result = send(narrow, asks(narrow, version, "b", 3))

    assert result.action == LEAVES
    assert port_of(result.packet) in (50000, 50001)
    assert narrow.maps["nat"].count() == before, "the old mapping is gone, both halves"


def test_a_port_in_use_is_not_given_away_however_conntrack_forgot(
    narrow: Datapath, version: int
) -> None:
    result = send(narrow, asks(narrow, version, "b", 3))

    assert result.drop_reason == C["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"]


@pytest.mark.parametrize(("patience_s", "kept"), [(1, False), (10**9, True)])
def test_the_node_keeps_a_port_until_it_has_been_silent_for_long(
    load: Callable[..., Datapath], version: int, patience_s: int, kept: bool
) -> None:
    host = load("host", tcp_established_s=patience_s)
    layers = TCP(sport=40000, dport=80)
    send(host, host.frame(version, "node", "world") / layers)
    age(host)

    port = port_of(send(host, host.frame(version, "a", "world") / layers).packet)

    assert (port != 40000) == kept
