"""A stored row as flow.Flow: what leaves the node.

Source:
    proto/flow/flow.proto.
"""

from collections.abc import Sequence
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from cilia.hubble.columns import DROPPED, UNKNOWN
from cilia.hubble.events import (
    DROP,
    FILES,
    POLICY_DENIED,
    POLICY_DENY,
    POLICY_VERDICT,
    TRACE,
    TRACE_SOCK,
    address_text,
)
from cilia.hubble.heard import names_of
from cilia.hubble.parties import SIDES, Party
from cilia.hubble.ports import Names, PolicyRef
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.sockets import of_sockets
from cilia.hubble.store import FlowStore, Rows
from cilia.hubble.summary import summary
from cilia.model.reasons import TRACE_POINT_PROTO, TRACE_REASON_PROTO

TO_PROXY = 1
V4_MAPPED = bytes(10) + b"\xff\xff"
NOWHERE = bytes(16)
FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
CALLS = {6: "TCP", 17: "UDP"}
"""Summaries of what sockets ask for."""
POLICY_LABEL = "k8s:io.cilium.k8s.policy."


class FlowMaker:
    """Makes flows from stored rows.

    Args:
        store: Where the rows are.
        names: For the rules behind a provenance id.
        node: `<cluster>/<node>`.
        version: Of this program.
    """

    def __init__(self, store: FlowStore, names: Names, node: str, version: str) -> None:
        self._store = store
        self._names = names
        self._node = node
        self._emitter = flow_pb2.Emitter(name="Hubble", version=version)

    def flow(self, number: int) -> flow_pb2.Flow:
        """The flow with a sequence number.

        Raises:
            LookupError: It has been overwritten.
        """
        rows = self._store.row(number)
        kind = int(rows["type"][0])
        made = flow_pb2.Flow(
            time=timestamp(int(rows["time"][0])),
            uuid=uuid_of(self._store.instance, number),
            emitter=self._emitter,
            verdict=int(rows["flow_verdict"][0]),  # type: ignore[arg-type]  # an enum's number
            Type=flow_pb2.SOCK if kind == TRACE_SOCK else flow_pb2.L3_L4,
            node_name=self._node,
            node_labels=self._store.node_labels,
            event_type=flow_pb2.CiliumEventType(type=kind, sub_type=int(rows["sub_type"][0])),
            traffic_direction=int(rows["traffic"][0]),  # type: ignore[arg-type]  # an enum's number
        )
        if (reply := int(rows["reply"][0])) != UNKNOWN:
            made.is_reply.value = bool(reply)
            made.reply = bool(reply)
        self._add_packet(made, rows)
        self._add_parties(made, rows)
        if kind == TRACE:
            self._add_trace(made, rows)
        elif kind == TRACE_SOCK:
            _add_socket(made, rows)
        else:
            self._add_decision(made, rows, kind)
        return made

    def _add_packet(self, made: flow_pb2.Flow, rows: Rows) -> None:
        source, destination = bytes(rows["source"][0]), bytes(rows["destination"][0])
        if source != NOWHERE or destination != NOWHERE:
            made.IP.destination = address_text(destination)
            v4 = destination.startswith(V4_MAPPED)
            if source != NOWHERE or not of_sockets(rows)[0]:  # whose call it was may be unknown
                made.IP.source = address_text(source)
            made.IP.ipVersion = flow_pb2.IPv4 if v4 else flow_pb2.IPv6
        protocol, flags, kind, code = (
            int(rows[name][0]) for name in ("protocol", "tcp_flags", "icmp_type", "icmp_code")
        )
        ports = {f"{side}_port": int(rows[f"{side}_port"][0]) for side in SIDES}
        if protocol == 6:
            on = {name: True for bit, name in enumerate(FLAG_NAMES) if flags >> bit & 1}
            tcp_flags = flow_pb2.TCPFlags(**on)
            made.l4.TCP.CopyFrom(flow_pb2.TCP(**ports, flags=tcp_flags))
        elif protocol == 17:
            made.l4.UDP.CopyFrom(flow_pb2.UDP(**ports))
        elif protocol == 132:
            made.l4.SCTP.CopyFrom(flow_pb2.SCTP(**ports))
        elif protocol == 1:
            made.l4.ICMPv4.CopyFrom(flow_pb2.ICMPv4(type=kind, code=code))
        elif protocol == 58:
            made.l4.ICMPv6.CopyFrom(flow_pb2.ICMPv6(type=kind, code=code))
        on_wire = made.Type != flow_pb2.SOCK
        made.Summary = (
            summary(protocol, flags, kind, code) if on_wire else CALLS.get(protocol, "Unknown")
        )

    def _add_parties(self, made: flow_pb2.Flow, rows: Rows) -> None:
        parties = self._store.parties.rows
        made.source.CopyFrom(_endpoint(parties[int(rows["source_party"][0])]))
        made.destination.CopyFrom(_endpoint(parties[int(rows["destination_party"][0])]))
        heard = self._store.heard
        if len(heard):
            made.source_names.extend(names_of(heard, rows, 0, "source"))
            made.destination_names.extend(names_of(heard, rows, 0, "destination"))
        service = self._store.services.rows[int(rows["service"][0])]
        if service.name:
            made.destination_service.namespace = service.namespace
            made.destination_service.name = service.name

    def _add_trace(self, made: flow_pb2.Flow, rows: Rows) -> None:
        point = int(rows["subtype"][0])
        made.trace_observation_point = TRACE_POINT_PROTO.get(point, 0)  # type: ignore[assignment]  # an enum's number
        reason = TRACE_REASON_PROTO.get(int(rows["reason"][0]), 0)
        made.trace_reason = reason  # type: ignore[assignment]  # an enum's number
        index = int(rows["ifindex"][0])
        if index:
            made.interface.index = index
            made.interface.name = self._store.interfaces.get(index, "")
        if point == TO_PROXY:
            made.proxy_port = int(rows["proxy_port"][0])

    def _add_decision(self, made: flow_pb2.Flow, rows: Rows, kind: int) -> None:
        reason = int(rows["drop_reason"][0])
        made.drop_reason = reason
        known = reason in flow_pb2.DropReason.values()
        made.drop_reason_desc = reason if known else 0  # type: ignore[assignment]  # an enum's number
        if kind == DROP:
            made.file.name = FILES.get(int(rows["file"][0]), "")
            made.file.line = int(rows["line"][0])
        if kind == POLICY_VERDICT:
            made.policy_match_type = int(rows["match"][0])
        if kind == POLICY_VERDICT or reason in (POLICY_DENIED, POLICY_DENY):
            refs = self._names.policies(int(rows["provenance"][0]))
            _add_policies(made, refs, "egress" if rows["direction"][0] == 1 else "ingress")
            if refs and all(ref.verdict == "default-deny" for ref in refs):
                made.policy_match_type = 0  # the row matches all, but no rule did


def _add_socket(made: flow_pb2.Flow, rows: Rows) -> None:
    made.sock_xlate_point = int(rows["subtype"][0])  # type: ignore[assignment]  # an enum's number
    made.socket_cookie = int(rows["cookie"][0])
    made.cgroup_id = int(rows["cgroup"][0])


def _add_policies(made: flow_pb2.Flow, refs: Sequence[PolicyRef], direction: str) -> None:
    """The rules that decided; one that closed its direction counts as having denied."""
    for ref in refs:
        denied = ref.verdict in ("deny", "default-deny") if ref.verdict else made.verdict == DROPPED
        word = "denied" if denied else "allowed"
        getattr(made, f"{direction}_{word}_by").append(_policy(ref))
    made.policy_log.extend(sorted({ref.log for ref in refs if ref.log}))


def _policy(ref: PolicyRef) -> flow_pb2.Policy:
    """A policy; the labels `cilia:*` say which of its rules, and where it is written."""
    labels = {
        f"{POLICY_LABEL}derived-from": ref.kind,
        f"{POLICY_LABEL}name": ref.name,
        f"{POLICY_LABEL}namespace": ref.namespace,
        "cilia:rule": ref.path,
        "cilia:place": ref.place,
        "cilia:verdict": ref.verdict,
    }
    return flow_pb2.Policy(
        name=ref.name,
        namespace=ref.namespace,
        kind=ref.kind,
        labels=sorted(f"{key}={value}" for key, value in labels.items() if value),
    )


def _endpoint(party: Party) -> flow_pb2.Endpoint:
    return flow_pb2.Endpoint(
        ID=party.endpoint,
        identity=party.identity,
        cluster_name=party.cluster,
        namespace=party.namespace,
        labels=party.labels,
        pod_name=party.pod,
        workloads=[flow_pb2.Workload(name=name, kind=kind) for name, kind in party.workloads],
    )


def timestamp(unix_ns: int) -> Timestamp:
    """A moment as protobuf has it."""
    seconds, nanos = divmod(unix_ns, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def uuid_of(instance: bytes, number: int) -> str:
    """The UUID (version 8, RFC 9562) of a flow: its store's bytes, then its number."""
    high = int.from_bytes(instance) & ~0xF000 | 0x8000
    return str(UUID(int=high << 64 | 2 << 62 | number))


def number_of(instance: bytes, text: str) -> int | None:
    """The number of the flow with a UUID; None when it is no flow of this store."""
    try:
        number = UUID(text).int & (1 << 62) - 1
    except ValueError:
        return None
    return number if uuid_of(instance, number) == text.lower() else None
