"""Why a packet was dropped or where it was seen: numbers, proto names and words.

Source: api/flow.proto, `flow.DropReason`, `flow.TraceObservationPoint`, `flow.TraceReason`.
"""

import msgspec


class DropReason(msgspec.Struct, frozen=True):
    """One reason, in each of its three forms."""

    code: int
    name: str
    """As flow.DropReason spells it; empty for a reason that is only counted."""
    text: str
    """As monitor, metrics and people read it."""
    deprecated: bool = False

    @property
    def is_drop(self) -> bool:
        """False for reasons that count what was forwarded or went unnoticed."""
        return self.code >= FIRST_DROP


FIRST_DROP = 130

DROP_REASONS: dict[int, DropReason] = {
    reason.code: reason
    for reason in (
        DropReason(0, "DROP_REASON_UNKNOWN", "Success"),
        DropReason(2, "", "Invalid packet"),
        DropReason(3, "", "Interface"),
        DropReason(4, "", "Interface Decrypted"),
        DropReason(5, "", "LB, sock cgroup: No backend slot entry found"),
        DropReason(6, "", "LB, sock cgroup: No backend entry found"),
        DropReason(7, "", "LB, sock cgroup: Reverse entry update failed"),
        DropReason(8, "", "LB, sock cgroup: Reverse entry stale"),
        DropReason(9, "", "Fragmented packet"),
        DropReason(10, "", "Fragmented packet entry update failed"),
        DropReason(11, "", "Missed tail call to custom program"),
        DropReason(12, "", "Interface Decrypting"),
        DropReason(13, "", "Interface Encrypting"),
        DropReason(14, "", "LB: sock cgroup: Reverse entry delete succeeded"),
        DropReason(15, "", "MTU error message"),
        DropReason(130, "INVALID_SOURCE_MAC", "Invalid source mac", deprecated=True),
        DropReason(131, "INVALID_DESTINATION_MAC", "Invalid destination mac", deprecated=True),
        DropReason(132, "INVALID_SOURCE_IP", "Invalid source ip"),
        DropReason(133, "POLICY_DENIED", "Policy denied"),
        DropReason(134, "INVALID_PACKET_DROPPED", "Invalid packet"),
        DropReason(135, "CT_TRUNCATED_OR_INVALID_HEADER", "CT: Truncated or invalid header"),
        DropReason(136, "CT_MISSING_TCP_ACK_FLAG", "Fragmentation needed"),
        DropReason(137, "CT_UNKNOWN_L4_PROTOCOL", "CT: Unknown L4 protocol"),
        DropReason(
            138,
            "CT_CANNOT_CREATE_ENTRY_FROM_PACKET",
            "CT: Can't create entry from packet",
        ),
        DropReason(139, "UNSUPPORTED_L3_PROTOCOL", "Unsupported L3 protocol"),
        DropReason(140, "MISSED_TAIL_CALL", "Missed tail call"),
        DropReason(141, "ERROR_WRITING_TO_PACKET", "Error writing to packet"),
        DropReason(142, "UNKNOWN_L4_PROTOCOL", "Unknown L4 protocol"),
        DropReason(143, "UNKNOWN_ICMPV4_CODE", "Unknown ICMPv4 code"),
        DropReason(144, "UNKNOWN_ICMPV4_TYPE", "Unknown ICMPv4 type"),
        DropReason(145, "UNKNOWN_ICMPV6_CODE", "Unknown ICMPv6 code"),
        DropReason(146, "UNKNOWN_ICMPV6_TYPE", "Unknown ICMPv6 type"),
        DropReason(147, "ERROR_RETRIEVING_TUNNEL_KEY", "Error retrieving tunnel key"),
        DropReason(
            148,
            "ERROR_RETRIEVING_TUNNEL_OPTIONS",
            "Error retrieving tunnel options",
        ),
        DropReason(149, "INVALID_GENEVE_OPTION", "Invalid Geneve option", deprecated=True),
        DropReason(150, "UNKNOWN_L3_TARGET_ADDRESS", "Unknown L3 target address"),
        DropReason(151, "STALE_OR_UNROUTABLE_IP", "Stale or unroutable IP"),
        DropReason(
            152,
            "NO_MATCHING_LOCAL_CONTAINER_FOUND",
            "No matching local container found",
        ),
        DropReason(153, "ERROR_WHILE_CORRECTING_L3_CHECKSUM", "Error while correcting L3 checksum"),
        DropReason(154, "ERROR_WHILE_CORRECTING_L4_CHECKSUM", "Error while correcting L4 checksum"),
        DropReason(155, "CT_MAP_INSERTION_FAILED", "CT: Map insertion failed"),
        DropReason(156, "INVALID_IPV6_EXTENSION_HEADER", "Invalid IPv6 extension header"),
        DropReason(157, "IP_FRAGMENTATION_NOT_SUPPORTED", "IP fragmentation not supported"),
        DropReason(158, "SERVICE_BACKEND_NOT_FOUND", "Service backend not found"),
        DropReason(
            160,
            "NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT",
            "No tunnel/encapsulation endpoint (datapath BUG!)",
        ),
        DropReason(161, "FAILED_TO_INSERT_INTO_PROXYMAP", "NAT 46/64 not enabled"),
        DropReason(
            162,
            "REACHED_EDT_RATE_LIMITING_DROP_HORIZON",
            "Reached EDT rate-limiting drop horizon",
        ),
        DropReason(163, "UNKNOWN_CONNECTION_TRACKING_STATE", "Unknown connection tracking state"),
        DropReason(164, "LOCAL_HOST_IS_UNREACHABLE", "Local host is unreachable"),
        DropReason(
            165,
            "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION",
            "No configuration available to perform policy decision",
        ),
        DropReason(166, "UNSUPPORTED_L2_PROTOCOL", "Unsupported L2 protocol"),
        DropReason(167, "NO_MAPPING_FOR_NAT_MASQUERADE", "No mapping for NAT masquerade"),
        DropReason(
            168,
            "UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE",
            "Unsupported protocol for NAT masquerade",
        ),
        DropReason(169, "FIB_LOOKUP_FAILED", "FIB lookup failed"),
        DropReason(
            170,
            "ENCAPSULATION_TRAFFIC_IS_PROHIBITED",
            "Encapsulation traffic is prohibited",
        ),
        DropReason(171, "INVALID_IDENTITY", "Invalid identity"),
        DropReason(172, "UNKNOWN_SENDER", "Unknown sender"),
        DropReason(173, "NAT_NOT_NEEDED", "NAT not needed"),
        DropReason(174, "IS_A_CLUSTERIP", "Is a ClusterIP"),
        DropReason(
            175,
            "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND",
            "First logical datagram fragment not found",
        ),
        DropReason(176, "FORBIDDEN_ICMPV6_MESSAGE", "Forbidden ICMPv6 message"),
        DropReason(177, "DENIED_BY_LB_SRC_RANGE_CHECK", "Denied by LB src range check"),
        DropReason(178, "SOCKET_LOOKUP_FAILED", "Socket lookup failed"),
        DropReason(179, "SOCKET_ASSIGN_FAILED", "Socket assign failed"),
        DropReason(
            180,
            "PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL",
            "Proxy redirection not supported for protocol",
        ),
        DropReason(181, "POLICY_DENY", "Policy denied by denylist"),
        DropReason(182, "VLAN_FILTERED", "VLAN traffic disallowed by VLAN filter"),
        DropReason(183, "INVALID_VNI", "Incorrect VNI from VTEP"),
        DropReason(184, "INVALID_TC_BUFFER", "Failed to update or lookup TC buffer"),
        DropReason(185, "NO_SID", "No SID was found for the IP address"),
        DropReason(
            186,
            "MISSING_SRV6_STATE",
            "SRv6 state was removed during tail call",
        ),
        DropReason(187, "NAT46", "L3 translation from IPv4 to IPv6 failed (NAT46)"),
        DropReason(188, "NAT64", "L3 translation from IPv6 to IPv4 failed (NAT64)"),
        DropReason(189, "AUTH_REQUIRED", "Authentication required"),
        DropReason(190, "CT_NO_MAP_FOUND", "No conntrack map found"),
        DropReason(191, "SNAT_NO_MAP_FOUND", "No nat map found"),
        DropReason(192, "INVALID_CLUSTER_ID", "Invalid ClusterID"),
        DropReason(
            193,
            "UNSUPPORTED_PROTOCOL_FOR_DSR_ENCAP",
            "Unsupported packet protocol for DSR encapsulation",
        ),
        DropReason(194, "NO_EGRESS_GATEWAY", "No egress gateway found"),
        DropReason(195, "UNENCRYPTED_TRAFFIC", "Traffic is unencrypted"),
        DropReason(196, "TTL_EXCEEDED", "TTL exceeded"),
        DropReason(197, "NO_NODE_ID", "No node ID found"),
        DropReason(198, "DROP_RATE_LIMITED", "Rate limited"),
        DropReason(199, "IGMP_HANDLED", "IGMP handled"),
        DropReason(200, "IGMP_SUBSCRIBED", "IGMP subscribed"),
        DropReason(201, "MULTICAST_HANDLED", "Multicast handled"),
        DropReason(202, "DROP_HOST_NOT_READY", "Host datapath not ready"),
        DropReason(203, "DROP_EP_NOT_READY", "Endpoint policy program not available"),
        DropReason(204, "DROP_NO_EGRESS_IP", "No Egress IP configured"),
        DropReason(205, "DROP_PUNT_PROXY", "Punt to proxy"),
    )
}


TRACE_POINTS: dict[int, str] = {
    0: "to-endpoint",
    1: "to-proxy",
    2: "to-host",
    3: "to-stack",
    4: "to-overlay",
    5: "from-endpoint",
    6: "from-proxy",
    7: "from-host",
    8: "from-stack",
    9: "from-overlay",
    10: "from-network",
    11: "to-network",
    12: "from-crypto",
    13: "to-crypto",
}
"""The kernel's trace points, in monitor's words."""

TRACE_POINT_PROTO: dict[int, int] = {point: point or 101 for point in TRACE_POINTS}
"""Kernel trace point -> flow.TraceObservationPoint: 0 means unknown there, so it is 101."""

TRACE_REASONS: dict[int, str] = {
    0: "new",
    1: "established",
    2: "reply",
    3: "related",
    5: "unknown",
}
"""The kernel's reasons for a trace, in monitor's words."""

TRACE_REASON_PROTO: dict[int, int] = {0: 1, 1: 2, 2: 3, 3: 4, 5: 0}
"""Kernel trace reason -> flow.TraceReason."""

SOCKET_POINTS: dict[int, str] = {
    1: "pre-xlate-fwd",
    2: "post-xlate-fwd",
    3: "pre-xlate-rev",
    4: "post-xlate-rev",
}
"""Where a socket's call was seen, in monitor's words: flow.SocketTranslationPoint."""

POLICY_MATCHES: dict[int, str] = {
    0: "none",
    1: "L3-Only",
    2: "L3-L4",
    3: "L4-Only",
    4: "all",
    5: "L3-Proto",
    6: "Proto-Only",
}
"""How a policy row matched, in monitor's words."""


def drop_reason(code: int) -> DropReason:
    """The reason with this number; an unknown number is a reason that says so."""
    return DROP_REASONS.get(code) or DropReason(code, "DROP_REASON_UNKNOWN", str(code))
