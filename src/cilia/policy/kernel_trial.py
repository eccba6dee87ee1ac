"""Cases through the real programs: a trial's rows in maps of its own, and packets sent.

    engine ──▶ PolicySync ──▶ policy, policy_class, ipcache, endpoint
                                          │
    case ──▶ frame ──▶ pod_from (BPF_PROG_TEST_RUN) ──▶ event ──▶ the same as the engine's?

Nothing is pinned or attached, and no device, route or running node is touched. Who sends is
always a pod on the loopback device, whose row is put there for the one packet.

Source:
    https://docs.kernel.org/bpf/bpf_prog_run.html
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
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
from cilia.model.rules import Direction
from cilia.policy.connection import Step
from cilia.policy.decision import Decider, Decision, Ports, Verdict
from cilia.policy.delta import Assignment
from cilia.policy.frames import Address, opening_frame, opens_connection, version_for
from cilia.policy.sync import PolicySync
from cilia.policy.trial.cases import Outcome
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.crosscheck import CannotAsk, Crosscheck, Difference

LOOPBACK = 1
"""Its index in every network namespace."""
_FIRST_IFINDEX = 1 << 20
"""Of the pods, so that none is a real device's."""
_PEER = 1 << 24
"""Id of the other side, which is a pod without a policy."""
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


def crosscheck(cluster: Cluster, outcomes: Sequence[Outcome]) -> Crosscheck:
    """Sends each case through the programs, and compares with what the engine decided.

    Raises:
        CannotAsk: The kernel refuses, or the rows do not fit.
    """
    with ExitStack() as stack:
        programs = Programs(cluster.decider, stack)
        differences: list[Difference] = []
        sent = passed_over = 0
        for outcome in outcomes:
            if not opens_connection(outcome.case.ports):
                passed_over += 1
                continue
            for step in outcome.judgement.steps:
                sent += 1
                differences += programs.compare(outcome, step)
        return Crosscheck(sent, passed_over, tuple(differences))


class Programs:
    """pod_from and maps with the rows of a trial."""

    def __init__(self, decider: Decider, stack: ExitStack) -> None:
        """Loads the object and writes the rows; what is open goes with the stack."""
        self._decider = decider
        endpoints = self._decider.engine.endpoints
        with stack.enter_context(BpfObject(layout.OBJECTS / "pod.bpf.o")) as opened:
            opened.set_global("config", encode(_CONFIG))
            for name in opened.map_names():
                if name in _UNUSED:
                    opened.resize(name, 1024)
            opened.resize("endpoint", len(endpoints) + 2)
            opened.resize("endpoint_addr", 2 * len(endpoints) + 4)
            opened.load()
            self.maps = opened.maps
            self._program = opened.programs["pod_from"]
        for name in self.maps:
            stack.callback(self.maps[name].close)
        for name in opened.programs:
            stack.callback(opened.programs[name].close)
        self._rings = list(_rings(self.maps["event_rings"], stack))
        self._rows = EndpointMap(self.maps)
        self._ipcache = IpcacheMap(self.maps)
        self._write(endpoints)
        self._runs = 0

    def compare(self, outcome: Outcome, step: Step) -> Iterator[Difference]:
        """The difference between engine and programs in one step, if there is one."""
        ports = outcome.case.ports
        version = version_for(ports, _version(step.peer.peer))
        peer = step.peer.peer
        if not isinstance(peer, int):
            if peer.version != version:
                return
            # A prefix is asked about by its first address, of the engine as of the programs.
            peer = ipaddress.ip_network(peer.network_address)
        expected = self._decider.decide(step.subject.endpoint, step.direction, peer, ports)
        found = self.decide(step.subject.endpoint, step.direction, peer, ports, version)
        if _seen(expected) != _seen(found):
            yield Difference(outcome, step, expected, found)

    def decide(
        self, endpoint: int, direction: Direction, peer: Any, ports: Ports, version: int
    ) -> Decision:
        """What the programs say of a connection of an endpoint with a peer."""
        own = self._rows.read(_ifindex(endpoint))
        assert own is not None, "every endpoint of the engine has a row"
        mine = own.v4 if version == 4 else own.v6
        assert mine is not None, "every endpoint has both addresses"
        theirs = self._place(peer, version)
        other = _peer_entry(theirs, peer if isinstance(peer, int) else 0)
        if direction is Direction.EGRESS:
            # The sender's row, as the sync wrote it, at the device that the packet comes from.
            sender = msgspec.structs.replace(own, ifindex=LOOPBACK)
            source, destination = mine, theirs
        else:
            sender, source, destination = other, theirs, mine
        # `write` gives the row both by device and by address.
        self._rows.write([other])
        self._rows.write([sender])
        try:
            return self._send(source, destination, ports, direction)
        finally:
            self._rows.delete([other])
            self._rows.write([own])

    def _place(self, peer: Any, version: int) -> Address:
        """The address of a peer; the ipcache knows it by its identity, as a pod's or node's."""
        if not isinstance(peer, int):
            found: Address = peer.network_address
            return found
        at = _address(version, _PEER)
        self._ipcache.write([IpcacheEntry(ipaddress.ip_network(at), peer)])
        return at

    def _send(
        self, source: Address, destination: Address, ports: Ports, direction: Direction
    ) -> Decision:
        if self._runs % _PORTS == 0 and self._runs:
            keys = self.maps["conntrack"].entries()[0]
            self.maps["conntrack"].drop(keys)
        # A port of its own, or the packet would belong to a connection judged before.
        source_port = _FIRST_PORT + self._runs % _PORTS
        self._runs += 1
        frame = opening_frame(source, destination, ports, source_port, _GATEWAY)
        test_run(self._program, frame, ifindex=LOOPBACK, ingress_ifindex=LOOPBACK)
        return self._read(direction)

    def _read(self, direction: Direction) -> Decision:
        records = [record for ring in self._rings for record in ring.read()]
        verdicts = [
            one
            for one in records
            if one["type"] == layout.constant("EVENT_POLICY_VERDICT")
            and one["subtype"] == int(direction)
        ]
        drops = [one for one in records if one["type"] == layout.constant("EVENT_DROP")]
        for one in drops:
            verdict = _VERDICTS.get(int(one["subtype"]))
            if verdict is None:
                raise CannotAsk(
                    f"pod_from dropped a packet for reason {one['subtype']}, which is none of "
                    "policy's: report it, with the case"
                )
            return Decision(verdict, self._decider.engine.rules(int(one["provenance"])))
        for one in verdicts:
            rules = self._decider.engine.rules(int(one["provenance"]))
            # The host passes by without a row, and the event says so.
            matched = one["match"] != layout.constant("MATCH_NONE")
            return Decision(Verdict.ALLOW if matched else Verdict.NODE, rules)
        return Decision(Verdict.NOT_ENFORCED)

    def _write(self, endpoints: Mapping[int, Any]) -> None:
        """Everything that the agent would write, by the agent's own sync."""
        self._rows.write([_entry(number, one.identity) for number, one in endpoints.items()])
        worlds = {4: "WORLD_IPV4", 6: "WORLD_IPV6"}
        self._ipcache.write(
            [
                IpcacheEntry(ipaddress.ip_network(net), layout.constant(f"IDENTITY_{worlds[v]}"))
                for v, net in ((4, "0.0.0.0/0"), (6, "::/0"))
            ]
        )
        self._ipcache.write(
            [
                IpcacheEntry(ipaddress.ip_network(_address(version, number)), one.identity)
                for number, one in endpoints.items()
                for version in (4, 6)
            ]
        )
        sync = PolicySync(
            self.maps["policy"],
            self.maps["policy_class"],
            _Prefixes(self._ipcache),
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
    """RulePrefixes of a trial: written once, on top of the world's."""

    def __init__(self, ipcache: IpcacheMap) -> None:
        self._ipcache = ipcache

    def held(self) -> Any:
        return self._ipcache.columns()

    def assign_prefixes(self, keys: Any, identities: Any, classes: Any) -> None:
        self._ipcache.write_columns(keys, identities, classes)

    def classify_addresses(self, keys: Any, identities: Any, classes: Any, *, gone: Any) -> None:
        if len(keys):
            self._ipcache.write_columns(keys, identities, classes)


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


def _seen(decision: Decision) -> tuple[Verdict, tuple[str, ...]]:
    """What of a decision both sides can tell: rules, whatever their order.

    Where nothing closes a pod, the programs do not ask whether it is its node that comes.
    """
    is_node = decision.verdict is Verdict.NODE
    verdict = Verdict.NOT_ENFORCED if is_node else decision.verdict
    return verdict, tuple(sorted(map(str, decision.rules)))


def _version(peer: Any) -> int:
    return 4 if isinstance(peer, int) else int(peer.version)


def _ifindex(endpoint: int) -> int:
    return _FIRST_IFINDEX + endpoint


def _address(version: int, number: int) -> Address:
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    return kind(_PODS[version] + number)


def _entry(number: int, identity: int) -> EndpointEntry:
    v4, v6 = _address(4, number), _address(6, number)
    assert isinstance(v4, ipaddress.IPv4Address)
    assert isinstance(v6, ipaddress.IPv6Address)
    return EndpointEntry(number, _ifindex(number), v4, v6, _MAC, _MAC, identity)


def _peer_entry(at: Address, identity: int) -> EndpointEntry:
    """The other side: a pod that enforces nothing; without an identity, its address tells."""
    v4 = at if isinstance(at, ipaddress.IPv4Address) else None
    v6 = at if isinstance(at, ipaddress.IPv6Address) else None
    return EndpointEntry(_PEER, LOOPBACK, v4, v6, _MAC, _MAC, identity, ready=True)
