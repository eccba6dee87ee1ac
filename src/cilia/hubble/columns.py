"""What Hubble says about a record beyond what the datapath wrote, for whole batches.

Source:
    bpf/lib/event.h; Hubble's rules for the fields of flow.Flow.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.events import (
    DROP,
    POLICY_DENIED,
    POLICY_DENY,
    POLICY_VERDICT,
    TRACE,
    TRACE_SOCK,
)

Columns = dict[str, NDArray[Any]]

FORWARDED, DROPPED, AUDIT = 1, 2, 4
"""flow.Verdict; the datapath's `enum event_verdict` has the same numbers."""
INGRESS, EGRESS = 1, 2
"""flow.TrafficDirection."""
TO_ENDPOINT = 0
REASON_REPLY, REASON_UNKNOWN = 2, 5
UNKNOWN = -1

DERIVED = {
    "flow_verdict": np.dtype("u1"),
    "drop_reason": np.dtype("u1"),
    "sub_type": np.dtype("u1"),
    "reply": np.dtype("i1"),
    "traffic": np.dtype("u1"),
    "ip": np.dtype("u1"),
}


def derived_columns(records: NDArray[np.void]) -> Columns:
    """The columns of `DERIVED` for a batch.

    Args:
        records: Shape (n,), `struct event_record`.

    Returns:
        `flow_verdict`: flow.Verdict. `drop_reason`: its code, 0 for what was not dropped.
        `sub_type`: of flow.CiliumEventType. `reply`: 1, 0, or -1 where it is not known.
        `traffic`: flow.TrafficDirection.
        `ip`: flow.IPVersion; 0 for a packet that could not be read, which has no addresses.
    """
    kind, subtype = records["type"], records["subtype"]
    drop, trace, judged = kind == DROP, kind == TRACE, kind == POLICY_VERDICT
    told = judged | (kind == TRACE_SOCK)
    verdict = np.where(told, records["verdict"], np.where(drop, DROPPED, FORWARDED))
    denied = judged & (verdict == DROPPED)
    by_match = np.where(records["match"] == 0, POLICY_DENIED, POLICY_DENY)
    by_rule = np.where(records["reason"] == 0, by_match, records["reason"])
    reason = np.where(drop, subtype, np.where(denied, by_rule, 0))
    return {
        "flow_verdict": verdict.astype("u1"),
        "drop_reason": reason.astype("u1"),
        "sub_type": np.where(judged, 0, subtype).astype("u1"),
        "reply": _reply(records, trace, judged & ~denied),
        "traffic": _traffic(records, trace, drop, reason),
        "ip": _ip(records),
    }


def halves_of(addresses: NDArray[Any]) -> NDArray[np.uint64]:
    """Addresses of 16 bytes as two numbers each, as they lie in memory: shape (n, 2)."""
    return np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)


def _ip(records: NDArray[np.void]) -> NDArray[np.uint8]:
    source, destination = halves_of(records["source"]), halves_of(records["destination"])
    used = (source | destination).any(axis=1)
    v4 = (destination[:, 0] == 0) & (destination[:, 1].byteswap() >> np.uint64(32) == 0xFFFF)
    return np.where(used, np.where(v4, 1, 2), 0).astype("u1")


def _reply(
    records: NDArray[np.void], trace: NDArray[np.bool_], allowed: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """A trace knows from connection tracking; what a policy let in is no reply."""
    known = (trace & (records["reason"] != REASON_UNKNOWN)) | allowed
    reply = trace & (records["reason"] == REASON_REPLY)
    return np.where(known, reply, UNKNOWN).astype("i1")


def _traffic(
    records: NDArray[np.void],
    trace: NDArray[np.bool_],
    drop: NDArray[np.bool_],
    reason: NDArray[Any],
) -> NDArray[np.uint8]:
    """Seen from the pod whose program reports: does the connection leave it?"""
    from_here = records["source_endpoint"] != 0
    to_here = records["destination_endpoint"] != 0
    by_policy = ~trace & (~drop | np.isin(reason, (POLICY_DENIED, POLICY_DENY)))
    reply = records["reason"] == REASON_REPLY
    traced = (from_here & (records["subtype"] != TO_ENDPOINT)) ^ reply
    egress = np.where(trace, traced, np.where(by_policy, records["direction"] == 1, from_here))
    unknown = (trace & (records["reason"] == REASON_UNKNOWN)) | (records["type"] == TRACE_SOCK)
    unknown |= drop & ~by_policy & ~from_here & ~to_here
    return np.where(unknown, 0, np.where(egress, EGRESS, INGRESS)).astype("u1")
