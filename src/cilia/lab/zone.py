"""What names mean: DNS records by name, and the answer to a query from them.

Source: RFC 1034, RFC 1035, RFC 2308 (negative answers), RFC 2782 (SRV).
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec
from dnslib import AAAA, CNAME, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A, DNSRecord

TTL_S = 5
SRV_PRIORITY = 0
SRV_WEIGHT = 100


class Record(msgspec.Struct, frozen=True, order=True):
    """One thing that a name means."""

    kind: str
    """A, AAAA, CNAME, PTR, SRV or TXT."""
    value: str
    """Address, name or text, by kind."""
    port: int = 0
    """SRV only."""


Names = Mapping[str, Sequence[Record]]
"""Records by lower-case name, without the last dot."""


def address_record(address: str) -> Record:
    """The A or AAAA record of an address.

    >>> address_record("fd00::1").kind
    'AAAA'
    """
    return Record("AAAA" if ip_address(address).version == 6 else "A", address)


def reverse_name(address: IPv4Address | IPv6Address | str) -> str:
    """The name whose PTR record tells an address's name.

    >>> reverse_name("10.96.0.10")
    '10.0.96.10.in-addr.arpa'
    """
    return ip_address(address).reverse_pointer


def question_of(query: DNSRecord) -> tuple[str, str]:
    """The lower-case name (without its last dot) and the type that a query asks for."""
    return str(query.q.qname).rstrip(".").lower(), str(QTYPE.get(query.q.qtype))


def answer(query: DNSRecord, names: Names, zone: str) -> DNSRecord:
    """The authoritative answer to a query from a zone's records.

    A name that is there but has no record of the type gets an empty answer, one
    that is not there NXDOMAIN; both carry the zone's SOA, so that they are cached.

    Args:
        query: A decoded query with one question.
        names: The zone's records.
        zone: Its name, for the SOA.
    """
    reply = query.reply(ra=1, aa=1)
    name, kind = question_of(query)
    found = names.get(name, ())
    chain = [record for record in found if record.kind in (kind, "CNAME") or kind == "ANY"]
    for record in chain:
        reply.add_answer(_rr(str(query.q.qname), record))
        if record.kind == "CNAME" and kind != "CNAME":
            for further in names.get(record.value, ()):
                if further.kind == kind:
                    reply.add_answer(_rr(record.value, further))
        if record.kind == "SRV":
            for further in names.get(record.value, ()):
                if further.kind in ("A", "AAAA"):
                    reply.add_ar(_rr(record.value, further))
    if not chain:
        if name not in names:
            reply.header.rcode = RCODE.NXDOMAIN
        reply.add_auth(_soa(zone))
    return reply


def fitting(reply: DNSRecord, limit_bytes: int) -> bytes:
    """A reply as bytes; one that is too long is cut and says so (TC)."""
    packed = bytes(reply.pack())
    return packed if len(packed) <= limit_bytes else bytes(reply.truncate().pack())


def _rr(name: str, record: Record) -> RR:
    data = {
        "A": lambda: A(record.value),
        "AAAA": lambda: AAAA(record.value),
        "CNAME": lambda: CNAME(record.value),
        "PTR": lambda: PTR(record.value),
        "SRV": lambda: SRV(SRV_PRIORITY, SRV_WEIGHT, record.port, record.value),
        "TXT": lambda: TXT(record.value),
    }[record.kind]()
    return RR(name, getattr(QTYPE, record.kind), rdata=data, ttl=TTL_S)


def _soa(zone: str) -> RR:
    times = (1, 7200, 1800, 86400, TTL_S)
    data = SOA(f"ns.dns.{zone}", f"hostmaster.{zone}", times)
    return RR(zone, QTYPE.SOA, rdata=data, ttl=TTL_S)
