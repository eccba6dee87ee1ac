"""Which flows are asked for: how many, from which end, between which times, which fields."""

from typing import Any

import msgspec

from cilia.cli.hubble.times import moment_ns

Json = Any

DEFAULT_LAST = 20
ALL = (1 << 64) - 1

SHOWN = (
    "time",
    "verdict",
    "ethernet",
    "IP",
    "l4",
    "source.identity",
    "source.namespace",
    "source.pod_name",
    "destination.identity",
    "destination.namespace",
    "destination.pod_name",
    "Type",
    "node_name",
    "l7",
    "event_type",
    "source_service",
    "destination_service",
    "is_reply",
    "Summary",
    "ip_trace_id",
)
"""The field mask of the stock tool."""
SHOWN_TOO = (
    "auth_type",
    "source_names",
    "destination_names",
    "traffic_direction",
    "policy_match_type",
    "debug_capture_point",
    "sock_xlate_point",
)
"""What our lines say beyond it: without these they would read UNKNOWN where the stock mask does."""
POLICIES = (
    "egress_allowed_by",
    "ingress_allowed_by",
    "egress_denied_by",
    "ingress_denied_by",
)
GROUPED = ("source.workloads", "destination.workloads", "drop_reason_desc")


class Selection(msgspec.Struct, frozen=True):
    """The selector flags as they were given; None where one was not."""

    first: int | None = None
    last: int | None = None
    all: bool = False
    follow: bool = False
    since: str | None = None
    until: str | None = None


def selection_request(chosen: Selection, now_ns: int, *, default: int = DEFAULT_LAST) -> Json:
    """The part of a request that says which flows: `since` and `until` are Unix ns.

    Args:
        chosen: The flags.
        now_ns: The present.
        default: How many of the last flows when nothing at all is said.

    Raises:
        ValueError: flags that exclude each other, or a time that cannot be read.
    """
    pairs = (
        ("--first", chosen.first is not None, "--last", chosen.last is not None),
        ("--first", chosen.first is not None, "--all", chosen.all),
        ("--first", chosen.first is not None, "--follow", chosen.follow),
        ("--last", chosen.last is not None, "--all", chosen.all),
    )
    for one, is_one, other, is_other in pairs:
        if is_one and is_other:
            raise ValueError(f"{one} and {other} exclude each other")
    request: Json = {}
    if chosen.first is not None:
        request |= {"first": True, "number": chosen.first}
    elif chosen.last is not None:
        request["number"] = chosen.last
    elif chosen.all:
        request["number"] = ALL
    elif not (chosen.follow or chosen.since or chosen.until):
        request["number"] = default
    if chosen.follow:
        request["follow"] = True
    if chosen.since:
        request["since"] = moment_ns(chosen.since, now_ns)
    if chosen.until and not chosen.follow:
        request["until"] = moment_ns(chosen.until, now_ns)
    return request


def field_mask(output: str, *, policies: bool = False, grouped: bool = False) -> list[str]:
    """The fields that an output shows; empty (all of them) for JSON."""
    if output in ("json", "jsonpb"):
        return []
    wanted = [*SHOWN, *SHOWN_TOO]
    return wanted + [*POLICIES] * policies + [*GROUPED] * grouped
