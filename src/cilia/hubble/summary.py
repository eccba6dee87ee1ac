"""One line of text about a flow, in Hubble's words.

Source:
    IANA's registries of ICMP and ICMPv6 parameters.
"""

FLAGS = (
    ("SYN", 0x02), ("ACK", 0x10), ("RST", 0x04), ("FIN", 0x01),
    ("PSH", 0x08), ("URG", 0x20), ("ECE", 0x40), ("CWR", 0x80),
)  # fmt: skip
"""In the order in which Hubble writes them."""
UNREACHABLE = (
    "Net", "Host", "Protocol", "Port", "FragmentationNeeded", "SourceRoutingFailed", "NetUnknown",
    "HostUnknown", "SourceIsolated", "NetAdminProhibited", "HostAdminProhibited", "NetTOS",
    "HostTOS", "CommAdminProhibited", "HostPrecedence", "PrecedenceCutoff",
)  # fmt: skip
UNREACHABLE_6 = (
    "NoRouteToDst", "AdminProhibited", "BeyondScopeOfSrc", "AddressUnreachable",
    "PortUnreachable", "SrcAddressFailedPolicy", "RejectRouteToDst",
)  # fmt: skip
PROBLEM = ("PointerIndicatesError", "MissingOption", "BadLength")
PROBLEM_6 = ("ErroneousHeader", "UnrecognizedNextHeader", "UnrecognizedIPv6Option")

Types = dict[int, tuple[str, tuple[str, ...]]]

ICMP: Types = {
    0: ("EchoReply", ()),
    3: ("DestinationUnreachable", UNREACHABLE),
    4: ("SourceQuench", ()),
    5: ("Redirect", ("Net", "Host", "TOS+Net", "TOS+Host")),
    8: ("EchoRequest", ()),
    9: ("RouterAdvertisement", ()),
    10: ("RouterSolicitation", ()),
    11: ("TimeExceeded", ("TTLExceeded", "FragmentReassemblyTimeExceeded")),
    12: ("ParameterProblem", PROBLEM),
    13: ("TimestampRequest", ()),
    14: ("TimestampReply", ()),
}
ICMP_6: Types = {
    1: ("DestinationUnreachable", UNREACHABLE_6),
    2: ("PacketTooBig", ()),
    3: ("TimeExceeded", ("HopLimitExceeded", "FragmentReassemblyTimeExceeded")),
    4: ("ParameterProblem", PROBLEM_6),
    128: ("EchoRequest", ()),
    129: ("EchoReply", ()),
    133: ("RouterSolicitation", ()),
    134: ("RouterAdvertisement", ()),
    135: ("NeighborSolicitation", ()),
    136: ("NeighborAdvertisement", ()),
    137: ("Redirect", ()),
}


def summary(protocol: int, tcp_flags: int, icmp_type: int, icmp_code: int) -> str:
    """What a packet was.

    >>> summary(6, 0x12, 0, 0)
    'TCP Flags: SYN, ACK'
    >>> summary(1, 0, 3, 3)
    'ICMPv4 DestinationUnreachable(Port)'
    """
    if protocol == 6:
        return "TCP Flags: " + ", ".join(name for name, bit in FLAGS if tcp_flags & bit)
    if protocol == 1:
        return f"ICMPv4 {icmp_text(ICMP, icmp_type, icmp_code)}"
    if protocol == 58:
        return f"ICMPv6 {icmp_text(ICMP_6, icmp_type, icmp_code)}"
    return {17: "UDP", 132: "SCTP", 2: "IGMP", 112: "VRRP"}.get(protocol, "")


def icmp_text(types: Types, number: int, code: int) -> str:
    """What an ICMP message was.

    >>> icmp_text(ICMP, 8, 0)
    'EchoRequest'
    """
    name, codes = types.get(number, (f"{number}", ()))
    if codes:
        return f"{name}({codes[code] if code < len(codes) else f'Code: {code}'})"
    return f"{name}(Code: {code})" if code else name
