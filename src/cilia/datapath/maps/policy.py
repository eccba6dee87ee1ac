"""policy and policy_class: verdicts by class of peers, and the class of each identity.

Rows come as arrays of the map's own dtypes, computed by the policy room. The
order of a change: `write` under a fresh policy number, switch the endpoints,
`delete_policy` the old number.

Source:
    bpf/lib/policy.h.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cilia.datapath import layout
from cilia.kernel.maps import Map


class PolicyEntry(msgspec.Struct, frozen=True):
    """One row, decoded for people."""

    policy: int
    direction: str
    """ingress or egress."""
    policy_class: int
    """0: any."""
    protocol: int
    """0: any."""
    port: int
    """Of the destination, first of the row's range; ICMP: the type; 0: any."""
    port_bits: int
    """How many leading bits of the port count."""
    verdict: str
    """allow, deny, default-deny or redirect."""
    precedence: int
    provenance: int
    generation: int
    proxy_port: int


def decode(key: Any, value: Any) -> PolicyEntry:
    """One row as a value."""
    protocol_bits = layout.constant("POLICY_PROTOCOL_BITS")
    names = {
        layout.constant(f"POLICY_VERDICT_{name}"): name.lower().replace("_", "-")
        for name in ("ALLOW", "DENY", "DEFAULT_DENY", "REDIRECT")
    }
    verdict = int(value["verdict"])
    return PolicyEntry(
        policy=int(key["policy"]),
        direction="egress" if key["direction"] else "ingress",
        policy_class=int(key["class"]),
        protocol=int(key["protocol"]),
        port=int(key["port"]),
        port_bits=max(int(key["prefixlen"]) - protocol_bits, 0),
        verdict=names.get(verdict, str(verdict)),
        precedence=int(value["precedence"]),
        provenance=int(value["provenance"]),
        generation=int(value["generation"]),
        proxy_port=int(value["proxy_port"]),
    )


class PolicyMap:
    """Both maps."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self.rows = maps["policy"]
        self.classes = maps["policy_class"]

    @property
    def capacity(self) -> int:
        """How many rows fit, of all policies together."""
        return self.rows.max_entries

    def write(self, keys: NDArray[np.void], values: NDArray[np.void]) -> None:
        """Adds or replaces rows; both arrays of the map's dtypes, shape (n,).

        Raises:
            MapFullError: No room: the policies that did not get in stay closed.
        """
        self.rows.put(keys, values)

    def delete(self, keys: NDArray[np.void]) -> int:
        """Removes rows; how many there were."""
        return self.rows.drop(keys)

    def delete_policy(self, *numbers: int) -> int:
        """Removes all rows of policies; how many there were."""
        keys = self.rows.keys()
        return self.rows.drop(keys[np.isin(keys["policy"], numbers)])

    def numbers(self) -> set[int]:
        """Policy numbers that have rows."""
        return set(np.unique(self.rows.keys()["policy"]).tolist())

    def write_classes(self, identities: ArrayLike, classes: ArrayLike) -> None:
        """Says which class each identity is in; both shape (n,)."""
        self.classes.put(identities, classes)

    def delete_classes(self, identities: ArrayLike) -> int:
        """Forgets identities: endpoints that enforce refuse them from here on."""
        return self.classes.drop(identities)

    def class_of(self) -> dict[int, int]:
        """identity -> class."""
        keys, values = self.classes.entries()
        return dict(zip(keys.tolist(), values.tolist(), strict=True))

    def entries(self) -> list[PolicyEntry]:
        """Every row, decoded."""
        return [decode(key, value) for key, value in zip(*self.rows.entries(), strict=True)]
