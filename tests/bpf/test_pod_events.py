"""What is reported, how often, what it costs when nobody listens, and what is lost."""

import numpy as np
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet

from bpf.harness import C, Datapath

A_CLASS = 7


def segment(pod: Datapath, version: int, flags: str, reply: bool = False) -> Packet:
    """A segment of the connection from a:40000 to b:80, or back."""
    ends = ("b", "a", 80, 40000) if reply else ("a", "b", 40000, 80)
    return pod.frame(version, *ends[:2]) / TCP(sport=ends[2], dport=ends[3], flags=flags)


def points(pod: Datapath, version: int, flags: str, reply: bool = False) -> list[int]:
    """Reasons of the trace events of one segment."""
    device = "lxcb" if reply else "lxca"
    result = pod.run("pod_from", segment(pod, version, flags, reply), device=device)
    assert result.action == "redirect"
    return [event["reason"] for event in result.of_type("TRACE")]


def test_a_connection_is_reported_when_its_flags_change(pod: Datapath, version: int) -> None:
    new, established, reply = (
        C[f"TRACE_REASON_{name}"] for name in ("NEW", "ESTABLISHED", "REPLY")
    )

    assert points(pod, version, "S") == [new]
    assert points(pod, version, "S") == []
    assert points(pod, version, "SA", reply=True) == [reply]
    assert points(pod, version, "A") == []
    assert points(pod, version, "PA") == []
    assert points(pod, version, "PA", reply=True) == []
    assert points(pod, version, "FA") == [established]
    assert points(pod, version, "FA") == []
    assert points(pod, version, "FA", reply=True) == [reply]
    assert points(pod, version, "R") == [established]


def test_a_long_connection_is_reported_once_an_interval(pod: Datapath, version: int) -> None:
    points(pod, version, "S")
    points(pod, version, "SA", reply=True)
    (connection,) = pod.connections()
    past = np.array([connection["last_report"]], "<u8") - np.uint64(6_000_000_000)

    pod.edit_connections(last_report=past)

    assert points(pod, version, "A") == [C["TRACE_REASON_ESTABLISHED"]]
    assert points(pod, version, "A") == []
    assert points(pod, version, "A", reply=True) == [C["TRACE_REASON_REPLY"]]


def test_a_known_connection_is_reported_with_who_and_why(pod: Datapath, version: int) -> None:
    pod.enforce("b", "INGRESS_ENFORCED")
    pod.classify(pod.a.identity, A_CLASS)
    pod.rule(pod.b, "INGRESS", "ALLOW", provenance=41)
    pod.run("pod_from", segment(pod, version, "S"))
    pod.run("pod_from", segment(pod, version, "SA", True), device="lxcb")

    (event,) = pod.run("pod_from", segment(pod, version, "FA")).of_type("TRACE")

    assert (event["source_identity"], event["destination_identity"]) == (1000, 2000)
    assert event["provenance"] == 41


def test_nothing_but_drops_is_reported_when_events_are_off(load, version: int) -> None:  # type: ignore[no-untyped-def]
    pod = load("pod", events=0)
    pod.enforce("b", "INGRESS_ENFORCED")
    pod.classify(pod.a.identity, A_CLASS)
    pod.rule(pod.b, "INGRESS", "ALLOW", protocol=6, port=80)
    pod.rule(pod.b, "INGRESS", "DEFAULT_DENY", provenance=9)

    assert pod.run("pod_from", segment(pod, version, "S")).events == []
    (drop,) = pod.run("pod_from", pod.frame(version, "a", "b") / UDP()).events

    assert (drop["type"], drop["provenance"]) == (C["EVENT_DROP"], 9)


def test_a_drop_says_where_and_what(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "world", "b") / TCP(sport=1, dport=2, flags="S")

    (drop,) = pod.run("pod_from", packet).events

    assert drop["subtype"] == C["DROP_INVALID_SOURCE_IP"]
    assert drop["verdict"] == C["EVENT_DROPPED"]
    assert drop["file"] == C["FILE_POD"]
    assert drop["line"] > 0
    assert drop["source_endpoint"] == pod.a.id
    assert (drop["source_port"], drop["destination_port"]) == (1, 2)
    assert drop["time"] > 0


def test_without_a_reader_every_event_is_counted_as_lost(pod: Datapath, version: int) -> None:
    pod.remove_rings()

    for _ in range(3):
        result = pod.run("pod_from", pod.frame(version, "world", "b") / UDP(), device="lxcb")
        assert result.events == []

    assert (pod.stat("SENT"), pod.stat("LOST")) == (3, 3)


def test_read_and_lost_events_are_all_events(pod: Datapath, version: int) -> None:
    raw = bytes(pod.frame(version, "world", "b") / UDP())
    sent = 2000

    pod.flood("pod_from", raw, sent)

    read = len(pod.events())
    assert 0 < read < sent
    assert (pod.stat("SENT"), pod.stat("LOST")) == (sent, sent - read)


def test_only_a_ring_that_is_half_full_wakes_its_reader(pod: Datapath, version: int) -> None:
    raw = bytes(pod.frame(version, "world", "b") / UDP())

    pod.flood("pod_from", raw, 100)
    assert not pod.is_woken()
    pod.flood("pod_from", raw, 1000)
    assert pod.is_woken()
