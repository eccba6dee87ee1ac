"""Claims to rows: what a class of peers may do, as longest-prefix rows.

Within a class the longest prefix decides, so a row that a shorter one beats is left
out. Between the row of a class and the row of anyone the higher precedence decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec
import numpy as np

from cilia.model.ports import NamedPort, NamedPorts, PortMatch, PortRange, port_masks
from cilia.model.rules import Direction
from cilia.policy.delta import ALLOW, ROW, Rows
from cilia.policy.provenance import Provenance, ProvenanceRule

BASE_BITS = 72
PROTOCOL_BITS = 80
FULL_BITS = 96

DENY = 2
DEFAULT_DENY = 3

ALLOW_PRECEDENCE = 0xFFFFFF01
DENY_PRECEDENCE = 0xFFFFFFFF
DEFAULT_DENY_PRECEDENCE = 0

RowKey = tuple[int, int, int, int]
"""direction, protocol, port, prefixlen"""
_VERDICTS = {
    ALLOW_PRECEDENCE: ALLOW,
    DENY_PRECEDENCE: DENY,
    DEFAULT_DENY_PRECEDENCE: DEFAULT_DENY,
}


class Grant(msgspec.Struct, frozen=True):
    """A claim, with its ports as row keys."""

    needs: tuple[int, ...]
    """Numbers of the selectors that all must select the peer."""
    keys: tuple[RowKey, ...]
    precedence: int
    origins: frozenset[ProvenanceRule]
    direction: Direction


@lru_cache(maxsize=4096)
def row_keys(
    direction: Direction, ports: tuple[PortMatch, ...] | None, own: NamedPorts
) -> tuple[RowKey, ...]:
    """The keys that ports make.

    Args:
        direction: Of the traffic, seen from the subject.
        ports: None: everything.
        own: The subject's named ports.
    """
    if ports is None:
        return ((int(direction), 0, 0, BASE_BITS),)
    keys: dict[RowKey, None] = {}
    for port in ports:
        for span in _spans(port, own):
            keys.update(dict.fromkeys(_range_keys(int(direction), span)))
    return tuple(keys)


def _spans(port: PortMatch, own: NamedPorts) -> Iterable[PortRange]:
    if isinstance(port, NamedPort):
        return [
            PortRange(protocol, number, number)
            for name, protocol, number in sorted(own)
            if (name, protocol) == (port.name, port.protocol)
        ]
    return [port]


def _range_keys(direction: int, span: PortRange) -> list[RowKey]:
    if span.is_every:
        return [(direction, span.protocol, 0, PROTOCOL_BITS)]
    return [
        (direction, span.protocol, port, PROTOCOL_BITS + bits)
        for port, bits in port_masks(span.first, span.last)
    ]


def merged_rows(grants: Sequence[Grant], provenance: Provenance) -> Rows:
    """The rows of one class: `policy`, `class` and `generation` are left at 0.

    Args:
        grants: All that apply to the class.
        provenance: Numbers the rules behind each row.
    """
    if len(grants) == 1:
        rows = _rows_of_one(grants[0].keys, grants[0].precedence).copy()
        rows["provenance"] = provenance.number(grants[0].origins)
        return rows
    best: dict[RowKey, tuple[int, frozenset[ProvenanceRule]]] = {}
    for grant in grants:
        for key in grant.keys:
            precedence, origins = best.get(key, (-1, frozenset()))
            if grant.precedence > precedence:
                best[key] = grant.precedence, grant.origins
            elif grant.precedence == precedence:
                best[key] = precedence, origins | grant.origins
    made = []
    for key, (precedence, origins) in best.items():
        above = [best[shorter] for shorter in _shorter(key) if shorter in best]
        if any(higher > precedence for higher, _ in above):
            continue
        origins = origins.union(*(more for same, more in above if same == precedence))
        number = provenance.number(origins)
        made.append((0, 0, *key, _VERDICTS[precedence], precedence, number, 0))
    return np.array(made, dtype=ROW)


@lru_cache(maxsize=4096)
def _rows_of_one(keys: tuple[RowKey, ...], precedence: int) -> Rows:
    """The rows of a grant alone, without provenance: none of its keys beats another."""
    verdict = _VERDICTS[precedence]
    return np.array([(0, 0, *key, verdict, precedence, 0, 0) for key in keys], dtype=ROW)


def _shorter(key: RowKey) -> Iterable[RowKey]:
    direction, protocol, port, bits = key
    if bits > BASE_BITS:
        yield direction, 0, 0, BASE_BITS
    if bits > PROTOCOL_BITS:
        yield direction, protocol, 0, PROTOCOL_BITS
    for shorter in range(PROTOCOL_BITS + 1, bits):
        yield direction, protocol, port & (0xFFFF << (FULL_BITS - shorter)), shorter


def spread(templates: Mapping[int, Rows], policy: int, generation: int) -> Rows:
    """The rows of many classes, each from its template."""
    chosen = [(number, rows) for number, rows in templates.items() if len(rows)]
    if not chosen:
        return np.zeros(0, dtype=ROW)
    # One buffer: joining structured arrays by the thousand costs numpy a look at each dtype.
    result = np.frombuffer(bytearray(b"".join(rows.tobytes() for _, rows in chosen)), dtype=ROW)
    result["class"] = np.repeat(
        np.array([number for number, _ in chosen], dtype=np.uint32),
        [len(rows) for _, rows in chosen],
    )
    result["policy"] = policy
    result["generation"] = generation
    return result


def allows_first(rows: Rows) -> Rows:
    """Rows in the order to delete them while someone may look: what is left denies more."""
    result: Rows = rows[np.argsort(rows["verdict"] != ALLOW, kind="stable")]
    return result
