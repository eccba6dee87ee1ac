"""What is really in the kernel's maps, as JSON, with numbers resolved to names."""

from collections.abc import Iterable
from typing import Any

from cilia.agent.parts import Parts
from cilia.agent.views import identity_labels
from cilia.datapath import layout
from cilia.datapath.maps.conntrack import Connection, ConntrackMap
from cilia.datapath.maps.endpoints import EndpointMap
from cilia.datapath.maps.ipcache import IpcacheEntry, IpcacheMap
from cilia.datapath.maps.metric import MetricMap
from cilia.datapath.maps.nat import NatEntry, NatMap
from cilia.datapath.maps.policy import PolicyEntry, PolicyMap
from cilia.datapath.maps.service import ServiceMap
from cilia.kernel.maps import Map
from cilia.model.errors import InvalidValue
from cilia.model.labels import Network
from cilia.model.reasons import drop_reason
from cilia.policy.connection import rule_text

Json = dict[str, Any]

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
SHOWN_IDENTITIES = 64
"""A class may have a hundred thousand members; so many are shown of each."""


def protocol_name(number: int) -> str:
    """Returns a protocol's name; empty for any.

    >>> protocol_name(6), protocol_name(0), protocol_name(47)
    ('TCP', '', '47')
    """
    return PROTOCOLS.get(number, str(number) if number else "")


def endpoint_rows(parts: Parts) -> list[Json]:
    """Returns the endpoint map, a row an address."""
    found = []
    for entry in EndpointMap(parts.maps).entries():
        flags = ("ready", "ingress_enforced", "egress_enforced", "audit")
        for address in (entry.v4, entry.v6):
            if address is not None:
                found.append(
                    {
                        "ip": str(address),
                        "id": entry.id,
                        "identity": entry.identity,
                        "flags": [f.replace("_", "-") for f in flags if getattr(entry, f)],
                        "ifindex": entry.ifindex,
                        "mac": entry.mac,
                        "node-mac": entry.host_mac,
                        "policy": entry.policy,
                        "generation": entry.generation,
                    }
                )
    return found


def ipcache_rows(parts: Parts, match: str = "") -> list[Json]:
    """Returns the ipcache map; with `match`, the one row that decides on an address.

    Raises:
        InvalidValue: `match` is not an address.
    """
    labels = identity_labels(parts)
    entries = IpcacheMap(parts.maps).entries()
    if match:
        entries = _deciding(entries, match)
    ordered = sorted(entries, key=lambda each: _order(each.prefix))
    return [
        {
            "prefix": str(each.prefix),
            "identity": each.identity,
            "class": each.policy_class,
            "tunnel": str(each.tunnel) if each.tunnel else "",
            "labels": labels.get(each.identity, []),
        }
        for each in ordered
    ]


def _deciding(entries: Iterable[IpcacheEntry], match: str) -> list[IpcacheEntry]:
    try:
        address = layout.decode_address(layout.encode_address(match))
    except ValueError as error:
        raise InvalidValue(f"match {match!r} is not an address") from error
    holders = [
        each
        for each in entries
        if each.prefix.version == address.version and address in each.prefix
    ]
    return sorted(holders, key=lambda each: each.prefix.prefixlen)[-1:]


def _order(prefix: Network) -> tuple[int, int, int]:
    return (prefix.version, int(prefix.network_address), prefix.prefixlen)


def policy_rows(parts: Parts, endpoint: int = 0) -> list[Json]:
    """Returns the policy map; with `endpoint`, the rows that this one enforces."""
    users: dict[int, list[int]] = {}
    for entry in EndpointMap(parts.maps).entries():
        users.setdefault(entry.policy, []).append(entry.id)
    members = class_members(parts)
    labels = identity_labels(parts)
    found = []
    for row in PolicyMap(parts.maps).entries():
        held_by = users.get(row.policy, [])
        if endpoint in held_by or not endpoint:
            found.append(policy_row(parts, row, held_by, members, labels))
    return found


def policy_row(
    parts: Parts,
    row: PolicyEntry,
    endpoints: list[int],
    members: dict[int, list[int]],
    labels: dict[int, list[str]],
) -> Json:
    """Returns one row of the policy map."""
    identities = members.get(row.policy_class, [])
    shown = sorted({label for number in identities for label in labels.get(number, ())})
    return {
        "endpoints": endpoints,
        "policy": row.policy,
        "action": row.verdict.replace("default-deny", "deny").capitalize(),
        "verdict": row.verdict,
        "direction": row.direction.capitalize(),
        "class": row.policy_class,
        "identities": identities,
        "labels": shown if row.policy_class else [],
        "protocol": protocol_name(row.protocol),
        "port": row.port,
        "prefix": row.port_bits,
        "proxy-port": row.proxy_port,
        "precedence": row.precedence,
        "provenance": row.provenance,
        "rules": [rule_text(rule) for rule in parts.policy.engine.rules(row.provenance)],
    }


def class_members(parts: Parts) -> dict[int, list[int]]:
    """Returns the identities of each class, at most so many of one as are shown."""
    found: dict[int, list[int]] = {}
    for member in parts.policy.engine.peers.members():
        held = found.setdefault(int(member["class"]), [])
        if len(held) < SHOWN_IDENTITIES:
            held.append(int(member["identity"]))
    for rule in parts.kernel_ipcache.prefixes():
        held = found.setdefault(int(rule["class"]), [])
        if len(held) < SHOWN_IDENTITIES:
            held.append(int(rule["identity"]))
    return found


def connection_rows(parts: Parts) -> list[Json]:
    """Returns the conntrack map."""
    return [connection_row(each) for each in ConntrackMap(parts.maps).connections()]


def connection_row(each: Connection) -> Json:
    """Returns one connection."""
    return {
        "protocol": protocol_name(each.protocol),
        "source": each.source,
        "source-port": each.source_port,
        "destination": each.destination,
        "destination-port": each.destination_port,
        "expires": each.expires_in_s,
        "packets": list(each.packets),
        "bytes": list(each.bytes),
        "tcp-flags": list(each.tcp_flags),
        "flags": list(each.flags),
        "source-identity": each.source_identity,
        "destination-identity": each.destination_identity,
        "provenance": list(each.provenance),
        "generation": list(each.generation),
        "age-seconds": round(each.age_s, 1),
    }


def metric_rows(parts: Parts) -> list[Json]:
    """Returns what programs counted, by reason and direction, since the maps were made."""
    return [
        {
            "reason": drop_reason(each.reason).text,
            "code": each.reason,
            "direction": each.direction.upper(),
            "packets": each.packets,
            "bytes": each.bytes,
        }
        for each in MetricMap(parts.maps).rows()
    ]


def nat_rows(parts: Parts) -> list[Json]:
    """Returns the masquerade map."""
    return [nat_row(each) for each in NatMap(parts.maps).entries()]


def nat_row(each: NatEntry) -> Json:
    """Returns one direction of a masquerade mapping."""
    return {
        "protocol": protocol_name(each.protocol),
        "direction": each.direction.upper(),
        "source": each.source,
        "source-port": each.source_port,
        "destination": each.destination,
        "destination-port": each.destination_port,
        "to": each.address,
        "to-port": each.port,
        "created-seconds-ago": int(each.age_s),
    }


def service_rows(parts: Parts) -> list[Json]:
    """Returns the service map, a row a slot, with the backends resolved."""
    rows = ServiceMap(parts.maps)
    backends = rows.backends()
    found: list[Json] = []
    for front in rows.frontends():
        name = f"{_host_port(front.address, front.port)}/{protocol_name(front.protocol)}"
        base = {"frontend": name, "reverse": front.reverse}
        found.append({**base, "slot": 0, "backend": "", "flags": ["ClusterIP"]})
        for slot, number in enumerate(front.backends, 1):
            backend = backends.get(number)
            place = _host_port(backend.address, backend.port) if backend else f"missing {number}"
            found.append({**base, "slot": slot, "backend": place, "flags": []})
    return found


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def map_rows(target: Map) -> list[Json]:
    """Returns any map's rows: fields by name, as the layouts declare them."""
    keys, values = target.entries()
    return [
        {"key": cell_text(key), "value": cell_text(value), "desired-action": "ok"}
        for key, value in zip(keys, values, strict=True)
    ]


def cell_text(cell: Any) -> str:
    """Returns a key or value as `field=value field=value`."""
    names = getattr(getattr(cell, "dtype", None), "names", None)
    if not names:
        return _field_text(cell)
    return " ".join(f"{n}={_field_text(cell[n])}" for n in names if not n.startswith("pad"))


def _field_text(value: Any) -> str:
    plain = value.item() if getattr(value, "ndim", 1) == 0 else value.tolist()
    if isinstance(plain, bytes):
        return str(layout.decode_address(plain)) if len(plain) == 16 else plain.hex()
    return str(plain).replace(" ", "")
