"""What policies refuse, counted by provenance: which drops count, and where there is no room."""

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Packet

from bpf.harness import C, Datapath
from cilia.agent.rule_hits import RuleHits
from cilia.datapath.maps.denied import DeniedMap
from cilia.runtime.clock import SystemClock

A_CLASS = 7
REST = C["DENIED_REST"]


def syn(pod: Datapath, version: int, port: int = 80) -> Packet:
    return pod.frame(version, "a", "b") / TCP(sport=40000, dport=port, flags="S")


def denied(pod: Datapath) -> dict[int, tuple[int, int]]:
    """Packets and bytes by provenance, over all CPUs."""
    keys, values = pod.maps["denied"].entries()
    return {
        int(key): (int(row["packets"].sum()), int(row["bytes"].sum()))
        for key, row in zip(keys, values, strict=True)
    }


def close(pod: Datapath, *flags: str) -> None:
    """Pod b enforces ingress, and knows a's class."""
    pod.enforce("b", "INGRESS_ENFORCED", *flags)
    pod.classify(pod.a.identity, A_CLASS)


@pytest.mark.parametrize("verdict", ["DENY", "DEFAULT_DENY"])
def test_a_deny_counts_under_its_rules(pod: Datapath, version: int, verdict: str) -> None:
    close(pod)
    pod.rule(pod.b, "INGRESS", verdict, provenance=31)

    for _ in range(3):
        assert pod.run("pod_from", syn(pod, version)).action == "drop"

    assert denied(pod) == {31: (3, 3 * len(syn(pod, version)))}
    assert pod.maps["denied"].lookup(31)["last_seen"].max() > 0


def test_what_no_policy_denies_is_not_counted(pod: Datapath, version: int) -> None:
    close(pod)
    pod.rule(pod.b, "INGRESS", "ALLOW", protocol=6, port=80, provenance=5)
    assert pod.run("pod_from", syn(pod, version)).action == "redirect"
    bad_source = pod.frame(version, "world", "b") / TCP(dport=80, flags="S")
    assert pod.run("pod_from", bad_source).action == "drop"
    not_in = syn(pod, version, port=81)
    assert pod.run("pod_from", not_in).action == "drop"  # No row: the policy is not in yet.

    assert denied(pod) == {}


def test_audited_packets_are_not_denied(pod: Datapath, version: int) -> None:
    close(pod, "AUDIT")
    pod.rule(pod.b, "INGRESS", "DENY", provenance=31)

    assert pod.run("pod_from", syn(pod, version)).action == "redirect"

    assert denied(pod) == {}


def test_a_full_map_counts_the_rest_in_one_row_and_drops_all_the_same(load, version: int) -> None:  # type: ignore[no-untyped-def]  # a fixture
    pod = load("pod", capacities={"denied": 2})
    close(pod)
    pod.maps["denied"].update(REST, (0, 0, 0))
    for port, provenance in ((80, 11), (81, 12), (82, 13)):
        pod.rule(pod.b, "INGRESS", "DENY", protocol=6, port=port, provenance=provenance)

    for port in (80, 81, 82, 81, 80):
        result = pod.run("pod_from", syn(pod, version, port))
        assert result.drop_reason == C["DROP_POLICY_DENY"]

    counts = {number: packets for number, (packets, _) in denied(pod).items()}
    assert counts == {11: 2, REST: 3}


def test_a_full_map_without_the_rest_drops_all_the_same(load, version: int) -> None:  # type: ignore[no-untyped-def]  # a fixture
    pod = load("pod", capacities={"denied": 1})
    close(pod)
    pod.maps["denied"].update(99, (0, 0, 0))
    pod.rule(pod.b, "INGRESS", "DENY", provenance=11)

    assert pod.run("pod_from", syn(pod, version)).drop_reason == C["DROP_POLICY_DENY"]
    assert denied(pod) == {99: (0, 0)}


def test_a_map_that_fills_gives_room_of_those_that_stand_still(load, version: int) -> None:  # type: ignore[no-untyped-def]  # a fixture
    pod = load("pod", capacities={"denied": 4})
    close(pod)
    reader, hits = DeniedMap(pod.maps), RuleHits(SystemClock())
    for port, provenance in ((80, 11), (81, 12), (82, 13), (83, 14)):
        pod.rule(pod.b, "INGRESS", "DENY", protocol=6, port=port, provenance=provenance)
    for port in (80, 81, 82, 83):  # The last finds no room.
        pod.run("pod_from", syn(pod, version, port))
    hits.observe_denied(reader.read(), reader.rest)
    pod.run("pod_from", syn(pod, version, 80))

    rows = reader.read()
    removed = reader.make_room(rows, hits.observe_denied(rows, reader.rest))
    pod.run("pod_from", syn(pod, version, 83))

    assert sorted(removed.tolist()) == [12, 13]
    counts = {number: packets for number, (packets, _) in denied(pod).items()}
    assert counts == {11: 2, 14: 1, REST: 1}
