"""The programs that judge a pod's packets, with a trial's rows in maps of their own.

    engine ──▶ PolicySync ──▶ policy, policy_class, ipcache, endpoint
                                          │
    frame ──▶ pod_from, host_from_net or host_to_pod (BPF_PROG_TEST_RUN) ──▶ events

Nothing is pinned or attached, and no device, route or running node is touched. The rows of
who sends and receives are put there for the one packet.

Source:
    https://docs.kernel.org/bpf/bpf_prog_run.html
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import msgspec
import numpy as np

from cilia.datapath import layout
from cilia.datapath.config import DatapathConfig, encode
from cilia.datapath.maps.endpoints import EndpointEntry, EndpointMap, EndpointVerdict
from cilia.datapath.maps.ipcache import IpcacheEntry, IpcacheMap
from cilia.kernel.maps import Map, MapKind, possible_cpus
from cilia.kernel.objects import BpfObject
from cilia.kernel.rings import Ring
from cilia.kernel.testrun import test_run
from cilia.model.labels import Network
from cilia.model.prefixes import prefix_key
from cilia.model.rules import Direction
from cilia.policy.decision import Decider, Decision, Ports, Verdict
from cilia.policy.delta import Assignment
from cilia.policy.frames import Address, opening_frame
from cilia.policy.sync import PolicySync
from cilia.policy.trial.crosscheck import CannotAsk

LOOPBACK = 1
"""Its index in every network namespace."""
_FIRST_IFINDEX = 1 << 20
"""Of the pods, so that none is a real device's."""
_SENDER, _RECEIVER = 1 << 24, (1 << 24) + 1
"""Ids of the two ends of the one packet."""
_MAC = "02:00:00:00:00:01"
_UNUSED = ("conntrack", "nat", "fragment", "service", "service_backend", "backend")
_PODS = {4: int(ipaddress.IPv4Address("240.0.0.0")), 6: int(ipaddress.IPv6Address("fdc1:11a::"))}
"""Addresses of pods count from here: of class E and of a local prefix, so nobody's."""
_FIRST_PORT, _PORTS = 32768, 32000
_RING_BYTES = 1 << 16
_REASONS = {
    "DROP_POLICY_DENY": Verdict.DENY,
    "DROP_POLICY_DENIED": Verdict.DEFAULT_DENY,
    "DROP_INVALID_IDENTITY": Verdict.UNKNOWN,
    "DROP_NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION": Verdict.UNKNOWN,
    "DROP_EP_NOT_READY": Verdict.UNKNOWN,
}


class End(msgspec.Struct, frozen=True):
    """Who sends or receives a packet."""

    identity: int = 0
    """0: its address tells."""
    endpoint: int = 0
    """Whose rows are its policy; 0: it has none."""
    at: Address | None = None
    """Where it is; None: anywhere, since its identity tells all."""


class Programs:
    """pod_from, host_from_net and host_to_pod, and maps with the rows of a trial."""

    def __init__(
        self, decider: Decider, stack: ExitStack, homes: Mapping[Network, int] | None = None
    ) -> None:
        """Loads the programs and writes the rows; what is open goes with the stack.

        Args:
            decider: Committed.
            stack: Closes what is opened here.
            homes: The identity at each address that CIDR rules match besides the world, if any.

        Raises:
            KernelError: The kernel refuses the programs.
            CannotAsk: The rows do not fit.
        """
        self._decider = decider
        self.maps: dict[str, Map] = {}
        self._programs: dict[str, Any] = {}
        config = msgspec.structs.replace(_CONFIG, class_by_address=bool(homes))
        for name in ("pod", "host"):
            self._load(name, encode(config), stack)
        self._rings = list(_rings(self.maps["event_rings"], stack))
        self._rows = EndpointMap(self.maps)
        self._ipcache = IpcacheMap(self.maps)
        self._write(homes or {})
        self._runs = 0

    def leave(
        self, source: End, destination: End, ports: Ports, version: int
    ) -> dict[Direction, Decision]:
        """What the programs say of a connection that a pod opens.

        Args:
            source: A pod, which has an endpoint.
            destination: Whoever; with an endpoint, its policy is asked as well if it is reached.
            ports: Of the connection.
            version: Of IP.

        Returns:
            The decision of each end that was asked.
        """
        rows = [self._row(source, _SENDER, version), self._row(destination, _RECEIVER, version)]
        rows[0] = msgspec.structs.replace(rows[0], ifindex=LOOPBACK)
        asked = [d for d, end in zip(_WAY, (source, destination), strict=True) if end.endpoint]
        return self._run("pod_from", rows, (_at(rows[0]), _at(rows[1])), ports, asked)

    def enter(
        self, program: str, source: End, destination: End, ports: Ports, version: int
    ) -> Decision:
        """What the programs say of a connection to a pod from elsewhere than a pod of its node.

        Args:
            program: host_from_net, or host_to_pod for what the node itself sends.
            source: Whoever, without an endpoint.
            destination: A pod, which has an endpoint.
            ports: Of the connection.
            version: Of IP.
        """
        at = source.at
        if at is None:
            at = _address(version, _SENDER)
            self._ipcache.write([IpcacheEntry(ipaddress.ip_network(at), source.identity)])
        # Its own address says nothing to its policy; this one is of the pod network.
        row = self._row(msgspec.structs.replace(destination, at=None), _RECEIVER, version)
        found = self._run(program, [row], (at, _at(row)), ports, [Direction.INGRESS])
        return found[Direction.INGRESS]

    def _row(self, end: End, number: int, version: int) -> EndpointEntry:
        """The row of one end, under the policy of its endpoint; without one, it is open."""
        row = EndpointEntry(number, _ifindex(number), None, None, _MAC, _MAC, end.identity)
        row = msgspec.structs.replace(row, ready=True)
        if end.endpoint:
            own = self._rows.read(_ifindex(end.endpoint))
            assert own is not None, "every endpoint of the engine has a row"
            row = msgspec.structs.replace(own, id=number, ifindex=_ifindex(number))
        return msgspec.structs.replace(row, **{f"v{version}": end.at or _address(version, number)})

    def _run(
        self,
        program: str,
        rows: list[EndpointEntry],
        ends: tuple[Address, Address],
        ports: Ports,
        asked: list[Direction],
    ) -> dict[Direction, Decision]:
        if self._runs % _PORTS == 0 and self._runs:
            self.maps["conntrack"].drop(self.maps["conntrack"].entries()[0])
        # A port of its own, or the packet would belong to a connection judged before.
        frame = opening_frame(*ends, ports, _FIRST_PORT + self._runs % _PORTS, _GATEWAY)
        self._runs += 1
        self._rows.write(rows)
        try:
            chosen = self._programs[program]
            test_run(chosen, frame, ifindex=LOOPBACK, ingress_ifindex=LOOPBACK)
            return self._read(program, asked)
        finally:
            self._rows.delete(rows)

    def _read(self, program: str, asked: list[Direction]) -> dict[Direction, Decision]:
        records = [record for ring in self._rings for record in ring.read()]
        drops = [one for one in records if one["type"] == layout.constant("EVENT_DROP")]
        found: dict[Direction, Decision] = {}
        for one in records:
            if one["type"] != layout.constant("EVENT_POLICY_VERDICT"):
                continue
            # The host passes by without a row, and the event says so.
            matched = one["match"] != layout.constant("MATCH_NONE")
            verdict = Verdict.ALLOW if matched else Verdict.NODE
            if drops and one["verdict"] == layout.constant("EVENT_DROPPED"):
                verdict = _dropped(program, drops.pop())
            rules = self._decider.engine.rules(int(one["provenance"]))
            found[Direction(int(one["subtype"]))] = Decision(verdict, rules)
        for one in drops:
            verdict = _dropped(program, one)
            return found | {d: Decision(verdict) for d in asked if d not in found}
        for direction in asked:
            passed = found.setdefault(direction, Decision(Verdict.NOT_ENFORCED)).verdict.passes
            if not passed:
                # Whoever is behind it was not asked.
                break
        return found

    def _load(self, name: str, config: bytes, stack: ExitStack) -> None:
        """Loads an object, which shares the maps of those before it."""
        with stack.enter_context(BpfObject(layout.OBJECTS / f"{name}.bpf.o")) as opened:
            opened.set_global("config", config)
            number = len(self._decider.engine.endpoints)
            for each in opened.map_names():
                if each in self.maps:
                    opened.reuse(each, self.maps[each])
                elif each in _UNUSED:
                    opened.resize(each, 1024)
                elif each in ("endpoint", "endpoint_addr"):
                    opened.resize(each, number + 4)
            opened.load()
        for each in opened.maps.keys() - self.maps.keys():
            self.maps[each] = opened.maps[each]
            stack.callback(opened.maps[each].close)
        for each, program in opened.programs.items():
            self._programs[each] = program
            stack.callback(program.close)

    def _write(self, homes: Mapping[Network, int]) -> None:
        """Everything that the agent would write, by the agent's own sync."""
        endpoints = self._decider.engine.endpoints
        self._rows.write(
            [
                EndpointEntry(number, _ifindex(number), None, None, _MAC, _MAC, one.identity)
                for number, one in endpoints.items()
            ]
        )
        entries = [
            IpcacheEntry(
                ipaddress.IPv4Network("0.0.0.0/0"), layout.constant("IDENTITY_WORLD_IPV4")
            ),
            IpcacheEntry(ipaddress.IPv6Network("::/0"), layout.constant("IDENTITY_WORLD_IPV6")),
        ]
        entries += [IpcacheEntry(at, identity) for at, identity in homes.items()]
        self._ipcache.write(entries)
        sync = PolicySync(
            self.maps["policy"],
            self.maps["policy_class"],
            _Prefixes(self._ipcache, homes),
            _Endpoints(self._rows, endpoints),
        )
        if not sync.apply(self._decider.engine.state()):
            raise CannotAsk(f"the policies are not in the kernel: {sync.error}")


class _Endpoints:
    """EndpointRows of a trial."""

    def __init__(self, rows: EndpointMap, endpoints: Mapping[int, Any]) -> None:
        self._rows, self._endpoints = rows, endpoints

    def policy_numbers(self) -> set[int]:
        return set()

    def assign(self, assignments: Mapping[int, Assignment]) -> None:
        self._rows.open(
            [
                EndpointVerdict(
                    _ifindex(number),
                    self._endpoints[number].identity,
                    one.policy,
                    one.generation,
                    one.ingress_enforced,
                    one.egress_enforced,
                    one.audit,
                )
                for number, one in assignments.items()
            ]
        )


class _Prefixes:
    """RulePrefixes of a trial: written once, on top of the world's.

    An address that somebody has is no rule's, even where a rule names it alone.
    """

    def __init__(self, ipcache: IpcacheMap, homes: Iterable[Network]) -> None:
        self._ipcache = ipcache
        self._homes = np.frombuffer(b"".join(map(prefix_key, homes)), "S17")

    def held(self) -> Any:
        return self._ipcache.columns()

    def assign_prefixes(self, keys: Any, identities: Any, classes: Any) -> None:
        free = ~np.isin(keys, self._homes)
        self._ipcache.write_columns(keys[free], identities[free], classes[free])

    def classify_addresses(self, keys: Any, identities: Any, classes: Any, *, gone: Any) -> None:
        if len(keys):
            self._ipcache.write_columns(keys, identities, classes)


_WAY = (Direction.EGRESS, Direction.INGRESS)
"""As a packet meets the policies of its two ends."""
_CONFIG = DatapathConfig(
    node_v4=None,
    node_v6=None,
    router_v4=None,
    router_v6=None,
    pods_v4=ipaddress.IPv4Network("240.0.0.0/4"),
    pods_v6=ipaddress.IPv6Network("fdc1:11a::/32"),
    net_ifindex=LOOPBACK,
    host_ifindex=LOOPBACK,
    host_mac=_MAC,
    masquerade_v4=False,
    masquerade_v6=False,
)
_GATEWAY = bytes.fromhex(_CONFIG.gateway_mac.replace(":", ""))
_VERDICTS = {layout.constant(name): verdict for name, verdict in _REASONS.items()}


def _rings(outer: Map, stack: ExitStack) -> Iterator[Ring]:
    nothing = np.dtype("V1")
    for cpu in range(min(possible_cpus(), outer.max_entries)):
        made = stack.enter_context(
            Map.create(MapKind.RINGBUF, f"trial_{cpu}", nothing, nothing, _RING_BYTES)
        )
        outer.update(cpu, made.fd)
        ring = Ring(made, layout.struct("event_record"))
        stack.callback(ring.close)
        yield ring


def _dropped(program: str, record: Any) -> Verdict:
    verdict = _VERDICTS.get(int(record["subtype"]))
    if verdict is None:
        raise CannotAsk(
            f"{program} dropped a packet for reason {record['subtype']}, which is none of "
            "policy's: report it, with the case"
        )
    return verdict


def _ifindex(endpoint: int) -> int:
    return _FIRST_IFINDEX + endpoint


def _address(version: int, number: int) -> Address:
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    return kind(_PODS[version] + number)


def _at(row: EndpointEntry) -> Address:
    found = row.v4 or row.v6
    assert found is not None, "the row of an end has the one address of its packet"
    return found
