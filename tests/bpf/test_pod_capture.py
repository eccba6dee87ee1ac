"""The first bytes of dropped packets: as sent, with their event, and only when asked for."""

from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from bpf.harness import BTF, Datapath
from cilia.kernel.rings import Ring
from cilia.observer.capture import Captures

LONGEST = 128


@pytest.fixture
def captures(pod: Datapath) -> Iterator[Captures]:
    found = Captures(
        pod.maps["capture_wanted"], Ring(pod.maps["captures"], BTF.struct("capture_record"))
    )
    yield found
    found.close()


def dropped(pod: Datapath, version: int, payload: bytes) -> tuple[bytes, np.ndarray]:
    """A packet that no rule allows, and its drop event as a record."""
    packet = pod.frame(version, "a", "b") / TCP(sport=4, dport=80, flags="S") / Raw(payload)
    result = pod.run("pod_from", packet)
    (event,) = result.of_type("DROP")
    row = np.zeros(1, [("time", "u8"), ("ifindex", "u4")])
    row["time"], row["ifindex"] = event["time"], event["ifindex"]
    return bytes(packet), row[0]


@pytest.mark.parametrize("size", [0, 20, LONGEST - 54, 1000])
def test_the_bytes_are_those_of_the_packet(
    pod: Datapath, version: int, captures: Captures, size: int
) -> None:
    pod.enforce("b", "INGRESS_ENFORCED")
    captures.want(wanted=True)
    seen = [dropped(pod, version, bytes([number]) * size) for number in (1, 2, 3)]
    for sent, record in reversed(seen):  # whatever the order in which events are shown
        assert captures.of(record) == sent[:LONGEST]
    assert captures.of(seen[0][1]) == b""  # each is handed out once


def test_nothing_is_captured_unasked(pod: Datapath, version: int, captures: Captures) -> None:
    pod.enforce("b", "INGRESS_ENFORCED")
    _, unasked = dropped(pod, version, b"")
    captures.want(wanted=True)
    _, asked = dropped(pod, version, b"")
    captures.want(wanted=False)
    _, later = dropped(pod, version, b"")
    captures.want(wanted=True)
    assert [captures.of(record) for record in (unasked, asked, later)] == [b""] * 3


def test_what_passes_is_not_captured(pod: Datapath, version: int, captures: Captures) -> None:
    captures.want(wanted=True)
    packet = pod.frame(version, "a", "b") / UDP(sport=4, dport=53)
    assert pod.run("pod_from", packet).action == "redirect"
    assert pod.maps["capture_wanted"].lookup(0) == 1
    assert len(captures._ring.read()) == 0


def test_a_full_ring_of_captures_loses_no_event(pod: Datapath, captures: Captures) -> None:
    pod.enforce("b", "INGRESS_ENFORCED")
    captures.want(wanted=True)
    packet = pod.frame(4, "a", "b") / TCP(sport=4, dport=80, flags="S")
    pod.flood("pod_from", bytes(packet), 3_000)  # twice what the ring holds
    assert len(pod.events()) == pod.stat("SENT") - pod.stat("LOST")


def test_what_a_killed_observer_left_on_is_turned_off(pod: Datapath) -> None:
    pod.maps["capture_wanted"].update(0, 1)
    Captures(
        pod.maps["capture_wanted"], Ring(pod.maps["captures"], BTF.struct("capture_record"))
    ).close()
    assert pod.maps["capture_wanted"].lookup(0) == 0
