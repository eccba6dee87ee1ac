"""The kernel's side, read literally: maps as dicts, and the look-ups of bpf/lib/policy.h."""

import ipaddress
from functools import lru_cache

import numpy as np

from cilia.model.prefixes import prefix_key
from cilia.policy.delta import (
    MEMBER,
    PREFIX,
    ROW,
    Assign,
    ClassifyAddresses,
    DeleteRows,
    ForgetMembers,
    MoveMembers,
    RemovePrefixes,
    WritePrefixes,
    WriteRows,
)
from cilia.policy.takeover import Held

VERDICTS = {1: "allow", 2: "deny", 3: "default-deny"}
V4 = 0xFFFF << 32
"""How the kernel writes IPv4: ::ffff:a.b.c.d"""
KEY = ("policy", "class", "direction", "protocol", "port", "prefixlen")


_address = lru_cache(ipaddress.ip_address)


class Kernel:
    """What the maps hold, and the verdicts that follow from it."""

    def __init__(self):
        self.rows = {}
        self.classes = {}
        self.prefixes = {}
        self.endpoints = {}
        self.addresses = {}
        self._by_table = {}

    def do(self, step):
        match step:
            case WriteRows(rows):
                for row in rows:
                    key = tuple(int(row[f]) for f in KEY)
                    value = (int(row["verdict"]), int(row["precedence"]), int(row["provenance"]))
                    self.rows[key] = value
                    self._by_table.setdefault(key[:3], {})[key[3:]] = value
            case DeleteRows(rows):
                for row in rows:
                    key = tuple(int(row[f]) for f in KEY)
                    del self.rows[key]
                    del self._by_table[key[:3]][key[3:]]
            case MoveMembers(members):
                for identity, number in members.tolist():
                    self.classes[identity] = number
            case ForgetMembers(identities):
                for identity in identities.tolist():
                    del self.classes[identity]
            case WritePrefixes(prefixes):
                for key, identity, number in prefixes.tolist():
                    self.prefixes[key.ljust(17, b"\0")] = identity, number
            case RemovePrefixes(keys):
                for key in keys.tolist():
                    del self.prefixes[key.ljust(17, b"\0")]
            case ClassifyAddresses(rows, gone, whole):
                for key in self.addresses.keys() if whole else gone.tolist():
                    self.addresses = {k: v for k, v in self.addresses.items() if k != key}
                for key, identity, number in rows.tolist():
                    self.addresses[key] = identity, number
            case Assign(assignments):
                self.endpoints.update(assignments)

    def held(self):
        """All that the maps hold, as arrays."""
        fields = (*KEY, "verdict", "precedence", "provenance")
        rows = np.zeros(len(self.rows), ROW)
        for place, (key, value) in enumerate(self.rows.items()):
            for field, number in zip(fields, (*key, *value), strict=True):
                rows[field][place] = number
        members = np.array(list(self.classes.items()), MEMBER)
        prefixes = [(key, *found) for key, found in self.prefixes.items()]
        return Held(rows, members, np.array(prefixes, PREFIX))

    def observed(self, hints):
        """Hints beyond every number that the maps hold."""
        held = self.held()
        return hints.beyond(
            policy=int(held.rows["policy"].max(initial=0)),
            policy_class=held.greatest_class,
            provenance=int(held.rows["provenance"].max(initial=0)),
            revision=0,
        )

    def judge(self, endpoint_id, direction, peer, protocol, port):
        """(verdict, provenance) of a packet.

        Args:
            peer: An identity, an address as text, or an address and its identity.
        """
        endpoint = self.endpoints.get(endpoint_id)
        if endpoint is None:
            return "closed", 0
        if not (endpoint.egress_enforced if direction else endpoint.ingress_enforced):
            return "allow", 0
        number = self.class_of(peer)
        if number is None:
            return "default-deny", 0
        best = None
        for wanted in (number, 0):
            found = self.look_up(endpoint.policy, wanted, direction, protocol, port)
            if found and (best is None or found[:3] > best[:3]):
                best = found
        if best is None:
            return "closed", 0
        return VERDICTS[best[3]], best[4]

    def look_up(self, policy, number, direction, protocol, port):
        """The longest prefix of one class: (precedence, length, has class, verdict, …)."""
        found = None
        for (proto, first, bits), value in self._by_table.get(
            (policy, number, direction), {}
        ).items():
            if bits >= 80 and proto != protocol:
                continue
            if bits > 80 and (first ^ port) >> (96 - bits):
                continue
            if found is None or bits > found[1]:
                found = (value[1], bits, number != 0, value[0], value[2])
        return found

    def class_of(self, peer):
        if isinstance(peer, int):
            return self.classes.get(peer)
        if isinstance(peer, tuple):
            address, identity = peer
            told, number = self.addresses.get(prefix_key(ipaddress.ip_network(address)), (0, 0))
            return number if told == identity else self.classes.get(identity)
        address = _address(peer)
        found = int(address) if address.version == 6 else V4 | int(address)
        best = None
        for key, (_identity, number) in self.prefixes.items():
            length = key[16]
            inside = (found ^ int.from_bytes(key[:16])) >> (128 - length) == 0
            if inside and (best is None or length > best[0]):
                best = length, number
        return best[1] if best else self.classes.get(9 if address.version == 4 else 10)
