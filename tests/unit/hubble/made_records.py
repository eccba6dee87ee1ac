"""Records as the datapath writes them, made up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cilia
from cilia.hubble.ports import EndpointName, PolicyRef
from cilia.kernel.btf import Btf

LAYOUT = Path(cilia.__file__).parent / "datapath/objects/layout.bpf.o"
RECORD: np.dtype[Any] = Btf.from_object(LAYOUT).struct("event_record")
V4 = bytes(10) + b"\xff\xff"
XWING, DEATHSTAR, TIE, FAR = (V4 + bytes((10, 0, 1, n)) for n in (5, 6, 7, 99))
WORLD = V4 + bytes((1, 1, 1, 1))
SIX = b"\xfd\x00" + bytes(13) + b"\x07"

PARTIES: tuple[tuple[bytes, int, int], ...] = (
    (XWING, 300, 7),
    (DEATHSTAR, 301, 8),
    (TIE, 302, 9),
    (SIX, 302, 9),
    (FAR, 301, 0),
    (WORLD, 2, 0),
    (bytes(16), 0, 0),
)
"""Address, identity, endpoint."""


class KnownNames:
    """Names of the Star Wars demo."""

    def __init__(self) -> None:
        self.pods = {7: "default/xwing", 8: "default/deathstar-1", 9: "empire/tiefighter"}

    def endpoint(self, number: int) -> EndpointName | None:
        return EndpointName(self.pods[number]) if number in self.pods else None

    def pod_at(self, address: str, identity: int) -> str:
        return "empire/far" if (address, identity) == ("10.0.1.99", 301) else ""

    def workloads(self, pod: str) -> Sequence[tuple[str, str]]:
        return [("deathstar", "Deployment")] if pod == "default/deathstar-1" else []

    def service(self, address: str, port: int, protocol: int) -> str:
        return "default/deathstar" if (address, port, protocol) == ("10.96.0.7", 80, 6) else ""

    def labels(self, identity: int) -> Sequence[str]:
        return {
            2: ["reserved:world"],
            300: ["k8s:class=xwing", "k8s:org=alliance"],
            301: ["k8s:class=deathstar", "k8s:org=empire"],
            302: ["any:org=rebels", "k8s:class=tiefighter", "k8s:org=empire"],
        }.get(identity, [])

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        if not provenance:
            return []
        verdict = {5: "allow", 6: "deny"}.get(provenance, "default-deny")
        rule = None if verdict == "default-deny" else 0
        return [
            PolicyRef("CiliumNetworkPolicy", "default", "rule1", rule, verdict=verdict, log="why")
        ]


def records(count: int, **fields: object) -> NDArray[np.void]:
    """So many equal records: xwing asks the deathstar, unless told otherwise."""
    rows = np.zeros(count, RECORD)
    defaults: dict[str, Any] = {
        "type": 4,
        "subtype": 0,
        "verdict": 1,
        "protocol": 6,
        "source": np.void(XWING),
        "destination": np.void(DEATHSTAR),
        "source_port": 40000,
        "destination_port": 80,
        "source_identity": 300,
        "destination_identity": 301,
        "source_endpoint": 7,
        "destination_endpoint": 8,
        "tcp_flags": 2,
        "ifindex": 12,
        "time": np.arange(count) + 1,
    }
    for name, value in (defaults | fields).items():
        rows[name] = value
    return rows


def side_of(side: str, party: tuple[bytes, int, int]) -> dict[str, object]:
    """The fields of one side of a record."""
    address, identity, endpoint = party
    return {
        side: np.void(address),
        f"{side}_identity": identity,
        f"{side}_endpoint": endpoint,
    }
