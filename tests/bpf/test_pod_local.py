"""From pod to pod of one node: straight in, both policies in one run."""

from bpf.harness import C, Datapath
from scapy.layers.inet import TCP


def test_an_open_pod_reaches_an_open_pod(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "a", "b") / TCP(sport=40000, dport=80, flags="S")

    result = pod.run("pod_from", packet)

    assert result.action == "redirect"
    assert (result.packet.dst, result.packet.src) == (pod.b.mac, pod.b.host_mac)
    assert result.trace_points == [C["TRACE_TO_ENDPOINT"]]
    assert len(pod.connections()) == 1
