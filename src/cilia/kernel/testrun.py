"""One packet through one program, in the kernel, without a device.

The kernel itself refuses frames shorter than an Ethernet header, and IPv4 or
IPv6 frames shorter than their IP header, with EINVAL.

Source:
    Linux Documentation/bpf/bpf_prog_run.rst; struct __sk_buff in linux/bpf.h.
"""

from typing import Any

import msgspec
import numpy as np

from cilia.kernel.libbpf import bpf, check, ffi
from cilia.kernel.objects import Program

SKB = np.dtype(
    {
        "names": [
            "len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci",
            "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash",
            "tc_classid", "data", "data_end", "napi_id", "family", "remote_ip4", "local_ip4",
            "remote_ip6", "local_ip6", "remote_port", "local_port", "data_meta", "flow_keys",
            "tstamp", "wire_len", "gso_segs", "sk", "gso_size", "tstamp_type", "pad", "hwtstamp",
        ],
        "formats": ["<u4"] * 12 + [("<u4", (5,))] + ["<u4"] * 6 + [">u4", ">u4", (">u4", (4,)),
            (">u4", (4,)), "<u4", "<u4", "<u4", "<u8", "<u8", "<u4", "<u4", "<u8", "<u4", "u1",
            ("u1", (3,)), "<u8"],
    }
)  # fmt: skip
"""struct __sk_buff, 192 bytes. A test run takes mark, priority, ingress_ifindex, ifindex,
cb, tstamp, wire_len, gso_segs, gso_size, hwtstamp; the rest must be zero."""

_ROOM = 1 << 16


class TestRun(msgspec.Struct, frozen=True):
    """What came out of a program."""

    __test__ = False  # not one of pytest's

    verdict: int
    """The program's return value, such as TC_ACT_OK or TC_ACT_SHOT."""
    packet: bytes
    skb: Any
    """A scalar of dtype SKB: what the program left in its context."""
    duration_ns: int
    """Mean of one run."""


def test_run(
    program: Program,
    packet: bytes,
    *,
    repeat: int = 1,  # noqa: PT028 - not one of pytest's
    **context: int | list[int],
) -> TestRun:
    """Runs a TC program on a frame, in the network namespace of the calling thread.

    Args:
        program: Loaded, of type SCHED_CLS.
        packet: The frame from its Ethernet header on.
        repeat: Runs; all on the same packet memory, so a program that edits it sees its edits.
        context: Fields of SKB to set; `ifindex` must be a device of this namespace.

    Raises:
        KernelError: The kernel refuses the frame or a context field (EINVAL).
    """
    skb = np.zeros((), SKB)
    for field, value in context.items():
        skb[field] = value
    room, skb_out = np.zeros(_ROOM, "u1"), np.zeros((), SKB)
    options = ffi.new("struct bpf_test_run_opts *")
    options.sz = ffi.sizeof(options[0])
    places = [ffi.from_buffer(one) for one in (packet, room, skb.tobytes(), skb_out)]
    options.data_in, options.data_out, options.ctx_in, options.ctx_out = places
    options.data_size_in, options.data_size_out = len(packet), _ROOM
    options.ctx_size_in = options.ctx_size_out = SKB.itemsize
    options.repeat = repeat
    result = bpf.bpf_prog_test_run_opts(program.fd, options)
    check(result, "test-run", f"program {program.name} on {len(packet)} bytes")
    return TestRun(
        verdict=int(np.uint32(options.retval).view(np.int32)),
        packet=room[: options.data_size_out].tobytes(),
        skb=skb_out[()],
        duration_ns=int(options.duration),
    )


test_run.__test__ = False  # type: ignore[attr-defined]
