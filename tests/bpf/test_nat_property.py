"""Masquerade against a naive book-keeper: whoever asked gets the answer, and nobody else."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf.harness import C, Datapath
from bpf.outside import hops, port_of, receive, reply, send, transport

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LOW, HIGH = 40000, 40005
PEERS = {4: ["1.1.1.1", "192.0.2.9"], 6: ["2606:4700:4700::1111", "2001:db8::9"]}
ASKERS = st.tuples(
    st.sampled_from(["a", "b", "node"]),
    st.sampled_from([4, 6]),
    st.sampled_from(["tcp", "udp", "echo"]),
    st.integers(0, 1),
    st.one_of(st.integers(LOW, HIGH), st.sampled_from([0, 1, 39999, 40006, 65535])),
)


@pytest.fixture
def crowded(load: Callable[..., Datapath]) -> Datapath:
    """A node with six ports for everybody."""
    return load("host", nat_port_min=LOW, nat_port_max=HIGH)


@SETTINGS
@given(asks=st.lists(ASKERS, max_size=30))
def test_every_answer_finds_who_asked(
    crowded: Datapath, asks: list[tuple[str, int, str, int, int]]
) -> None:
    crowded.maps["nat"].clear()
    crowded.maps["conntrack"].clear()
    outside: dict[tuple[int, str, int, int], tuple[str, int]] = {}
    """(version, kind, peer, outside port) -> who has it, and under which port of its own."""
    for who, version, kind, peer, port in asks:
        packet = crowded.frame(version, who, PEERS[version][peer]) / transport(version, kind, port)
        result = send(crowded, packet)
        holders = {held: key for key, held in outside.items() if key[:3] == (version, kind, peer)}
        if result.action == "drop":
            assert result.drop_reason == C["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"]
            assert len({key[3] for key in holders.values() if LOW <= key[3] <= HIGH}) == 6
            assert (who, port) not in holders
            continue
        taken = port_of(result.packet)
        untracked = who == "node" and not LOW <= port <= HIGH
        assert taken == port if untracked else LOW <= taken <= HIGH
        assert outside.setdefault((version, kind, peer, taken), (who, port)) == (who, port)
        assert holders.get((who, port), (version, kind, peer, taken))[3] == taken

    for (version, kind, peer, taken), (who, port) in outside.items():
        source = PEERS[version][peer]
        answer = crowded.frame(version, source, "node", **hops(version)) / reply(
            version, kind, taken
        )
        result = receive(crowded, answer)
        expected = crowded.frame(
            version, source, who, **hops(version, 64 if who == "node" else 63)
        ) / reply(version, kind, port)
        if who != "node":
            pod = getattr(crowded, who)
            expected.dst, expected.src = pod.mac, pod.host_mac
        assert result.action == ("next" if who == "node" else "redirect")
        assert bytes(result.packet).hex() == bytes(expected).hex()
