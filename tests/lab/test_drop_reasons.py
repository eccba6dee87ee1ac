"""What a pod can do wrong, done from a pod of the lab, and told by Hubble by its name.

Reasons that need a broken kernel or a full map are provoked in tests/bpf, by the packet.
"""

import socket
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from cilia.datapath.config import GATEWAY_MAC
from cilia.hubble.proto.flow import flow_pb2
from cilia.kernel import netns
from lab.running_lab import RunningLab, wait_for
from lab.test_hubble import flows
from lab.traffic import Pod, pods

OUTSIDE = "198.51.100.7"
EXPERIMENT = 253
"""A transport that nobody has (RFC 3692)."""
DENY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: no-xwing, namespace: default}
spec:
  endpointSelector: {matchLabels: {class: deathstar}}
  ingressDeny:
  - fromEndpoints: [{matchLabels: {org: alliance}}]
"""

Frame = Callable[[Pod, Pod], Packet]

WRONG: dict[str, Frame] = {
    "INVALID_SOURCE_IP": lambda me, peer: IP(src="203.0.113.9", dst=peer.v4) / UDP(dport=9),
    "INVALID_PACKET_DROPPED": lambda me, peer: IP(src=me.v4, dst=peer.v4, ihl=4) / UDP(dport=9),
    "CT_TRUNCATED_OR_INVALID_HEADER": lambda me, peer: (
        IP(src=me.v4, dst=peer.v4, proto=socket.IPPROTO_TCP) / Raw(b"short")
    ),
    "CT_UNKNOWN_L4_PROTOCOL": lambda me, peer: (
        IP(src=me.v4, dst=peer.v4, proto=EXPERIMENT) / Raw(b"what")
    ),
    "UNSUPPORTED_L3_PROTOCOL": lambda me, peer: Ether(type=0x88B5) / Raw(bytes(60)),
    "INVALID_IPV6_EXTENSION_HEADER": lambda me, peer: (
        IPv6(src=me.v6, dst=peer.v6) / IPv6ExtHdrDestOpt(nh=60) / b"\x11\0"
    ),
    "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND": lambda me, peer: (
        IP(src=me.v4, dst=peer.v4, id=4711, frag=100, proto=socket.IPPROTO_UDP) / Raw(bytes(32))
    ),
    "FORBIDDEN_ICMPV6_MESSAGE": lambda me, peer: (
        IPv6(src=me.v6, dst=peer.v6, hlim=255) / ICMPv6ND_NA(tgt=me.v6)
    ),
    "STALE_OR_UNROUTABLE_IP": lambda me, peer: IP(src=me.v4, dst=nobody(me)) / ICMP(),
    "UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE": lambda me, peer: (
        IP(src=me.v4, dst=OUTSIDE) / SCTP(dport=9)
    ),
    "POLICY_DENY": lambda me, peer: IP(src=me.v4, dst=peer.v4) / TCP(dport=80, flags="S"),
}


def nobody(pod: Pod) -> str:
    """An address of the pod's network that no pod has: the last of its /24."""
    return pod.v4.rpartition(".")[0] + ".254"


@pytest.fixture(scope="module")
def denied(lab: RunningLab) -> Iterator[RunningLab]:
    """The lab, where xwing may not speak to the deathstars."""
    done = lab.kubectl("apply", "-f", "-", text=DENY)
    assert done.returncode == 0, done.stderr
    try:

        def enforced() -> bool:
            _, _, count = lab.kubectl("get", "cnp", "no-xwing", "--no-headers").stdout.partition(
                " "
            )
            return "2/2" in count

        wait_for("the policy is in force", enforced)
        yield lab
    finally:
        lab.kubectl("delete", "cnp", "no-xwing", "--ignore-not-found")


def send(pod: Pod, packet: Packet) -> None:
    """Puts a frame on a pod's device."""
    frame = packet if isinstance(packet, Ether) else Ether(dst=GATEWAY_MAC) / packet
    with netns.open_socket(pod.netns, socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        raw.send(bytes(frame))


@pytest.mark.parametrize("reason", WRONG)
def test_what_a_pod_does_wrong_is_seen_by_its_name(denied: RunningLab, reason: str) -> None:
    known = pods(denied.name)
    me = known["xwing"]
    peer = next(pod for name, pod in known.items() if name.startswith("deathstar"))
    wanted = flow_pb2.DropReason.Value(reason)

    def is_seen() -> bool:
        send(me, WRONG[reason](me, peer))
        found = flows(denied, drop_reason_desc=[wanted], verdict=[flow_pb2.DROPPED])
        return any(flow.drop_reason_desc == wanted for flow in found)

    wait_for(f"a drop for {reason}", is_seen)
    shown = denied.cilia("hubble", "observe", "--drop-reason-desc", reason, "--last", "1")
    assert "DROPPED" in shown.stdout, shown.stdout + shown.stderr
