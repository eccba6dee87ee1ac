"""toPorts and icmps as objects write them."""

import re

from cilia.model.errors import NotSupported
from cilia.model.ports import (
    ICMP_V4,
    ICMP_V6,
    PORT_LAST,
    PORT_PROTOCOLS,
    PROTOCOLS,
    NamedPort,
    PortMatch,
    PortRange,
)
from cilia.policy.syntax.fields import Field, suggestion
from cilia.policy.syntax.icmp_types import ICMP_TYPES
from cilia.policy.syntax.l7 import check_l7

LIMIT = 40
_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](-?[a-z0-9])*")
_PROTOCOLS = ("TCP", "UDP", "SCTP", "ANY", "VRRP", "IGMP")
_EXTENDED = ("VRRP", "IGMP")
_PLAIN = ("ports",)
_FULL = ("ports", "rules", "terminatingTLS", "originatingTLS", "serverNames", "listener")


class PortSyntax:
    """Reads the ports of one entry, and notes what is valid and not supported yet."""

    def __init__(self, *, deny: bool, egress: bool) -> None:
        self.unsupported: list[NotSupported] = []
        self._deny = deny
        self._egress = egress

    def ports(self, field: Field) -> tuple[PortMatch, ...]:
        """The ports of a toPorts list, the items' union."""
        found: dict[PortMatch, None] = {}
        for item in field.items():
            members = item.mapping(_PLAIN if self._deny else _FULL)
            if "ports" not in members or not (ports := members["ports"].items()):
                item.refuse("names no ports", 'write ports: [{port: "0"}] for any')
            if len(ports) > LIMIT:
                members["ports"].refuse(f"has {len(ports)} items", f"split it: {LIMIT} at most")
            for port in ports:
                found.update(dict.fromkeys(self._port(port)))
            self.unsupported += check_l7(members, egress=self._egress)
        return tuple(found)

    def icmps(self, field: Field) -> tuple[PortMatch, ...]:
        """The types of an icmps list, the items' union."""
        found: dict[PortMatch, None] = {}
        for item in field.items():
            members = item.mapping(("fields",))
            fields = members["fields"].items() if "fields" in members else []
            if not fields:
                item.refuse("names no fields", "write fields: [{type: EchoRequest}]")
            if len(fields) > LIMIT:
                members["fields"].refuse(f"has {len(fields)} items", f"split it: {LIMIT} at most")
            found.update(dict.fromkeys(_icmp(each) for each in fields))
        return tuple(found)

    def _port(self, item: Field) -> tuple[PortMatch, ...]:
        members = item.mapping(("port", "endPort", "protocol"))
        name = "ANY"
        if "protocol" in members:
            written = members["protocol"].text()
            name = written.upper()
            if name in ("ICMP", "ICMPV6", "ICMPV4"):
                members["protocol"].refuse("is not a protocol with ports", "use icmps instead")
            if name not in _PROTOCOLS:
                members["protocol"].refuse("is not known", suggestion(written, list(_PROTOCOLS)))
        if name in _EXTENDED:
            self._extended(members)
            return ()
        if "port" not in members:
            item.refuse("has no port", 'write port: "80", or port: "0" for any')
        protocols = PORT_PROTOCOLS if name == "ANY" else (PROTOCOLS[name],)
        return port_matches(members["port"], members.get("endPort"), protocols)

    def _extended(self, members: dict[str, Field]) -> None:
        if "port" in members and members["port"].text() not in ("", "0"):
            members["port"].refuse("has no meaning for this protocol", 'write "0"')
        self.unsupported.append(members["protocol"].not_supported("VRRP and IGMP are"))


def port_matches(
    port: Field, end: Field | None, protocols: tuple[int, ...]
) -> tuple[PortMatch, ...]:
    """The ports that `port` and `endPort` write, of each protocol."""
    text = port.text()
    if re.fullmatch(r"[0-9]{1,6}", text):
        first = Field(port.where, port.path, int(text)).number(0, PORT_LAST)
        last = end.number(0, PORT_LAST) if end else 0
        if first == 0 and last == 0:
            return tuple(PortRange(protocol) for protocol in protocols)
        return tuple(PortRange(protocol, first, max(first, last)) for protocol in protocols)
    name = text.lower()
    if len(name) > 15 or not _NAME.fullmatch(name):
        port.refuse(
            "is neither a port number nor a port name",
            "write a number up to 65535, or a name of up to 15 letters, digits and dashes",
        )
    if end is not None and end.number(0, PORT_LAST):
        end.refuse("cannot follow a port name", "write numbers in port and endPort")
    return tuple(NamedPort(protocol, name) for protocol in protocols)


def _icmp(item: Field) -> PortRange:
    members = item.mapping(("family", "type"))
    family = members["family"].choice(("IPv4", "IPv6")) if "family" in members else "IPv4"
    if "type" not in members:
        item.refuse("has no type", "write type: EchoRequest, or a number")
    field, names = members["type"], ICMP_TYPES[family]
    found = field.found
    if isinstance(found, str) and not re.fullmatch(r"[0-9]{1,4}", found):
        number = names.get(found)
        if number is None:
            field.refuse(f"is not an ICMP type of {family}", suggestion(found, list(names)))
    else:
        whole = int(found) if isinstance(found, str) else found
        number = Field(field.where, field.path, whole).number(0, 255)
    return PortRange(ICMP_V4 if family == "IPv4" else ICMP_V6, number, number)
