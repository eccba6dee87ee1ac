"""What is counted: one class a metric, deciding on one flow at a time.

A handler is asked once for each kind of flow (see `tally`), never for each flow, so it is
written as plainly as its rule. What it returns is where such a flow counts.

Source:
    https://docs.cilium.io/en/stable/observability/metrics/#hubble-exported-metrics
"""

from collections.abc import Iterable

from cilia.hubble.events import POLICY_DENIED, POLICY_VERDICT, TRACE
from cilia.hubble.filters.terms import Mask, Test
from cilia.hubble.metrics.batch import ADDRESSES, DETAIL, PARTIES, PORT, PROVENANCE, REPLY
from cilia.hubble.metrics.contexts import OPTIONS, Contexts, Labels
from cilia.hubble.metrics.durations import Durations
from cilia.hubble.metrics.facts import (
    DROPPED,
    FAMILIES,
    FORWARDED,
    L7,
    REDIRECTED,
    UNKNOWN_FLOW,
    FlowFacts,
    direction_name,
    drop_reason_name,
)
from cilia.hubble.metrics.options import MetricConfig, MetricsConfigError
from cilia.hubble.metrics.series import Cells, Counter, Described, Values
from cilia.hubble.store import Rows
from cilia.hubble.summary import ICMP, ICMP_6, icmp_text
from cilia.model.reasons import POLICY_MATCHES, TRACE_POINTS
from cilia.model.reserved import ReservedIdentity

TYPES = {1: "Drop", 3: "Capture", TRACE: "Trace", POLICY_VERDICT: "PolicyVerdict"}


class Handler:
    """What all of them share.

    Args:
        config: Its options.
        cells: Where its counts are.
        limit: How many series a metric may have.

    Attributes:
        columns: What it looks at, as `Batch.keys` calls it.
        kinds: The event types that it counts; None: all.
        test: Rows that do not pass count nowhere, so they need not be told apart; None: any may.
        counters: Its metrics.
        durations: Its histograms.
    """

    name = ""
    own_options: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    """Columns that it looks at in any case."""

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        self.config = config
        self.options = dict(config.options)
        where = f"metric {config.name}"
        for option in self.options:
            if option not in (*OPTIONS, *self.own_options):
                known = ", ".join((*OPTIONS, *self.own_options))
                raise MetricsConfigError(f"{where}: option {option!r} is unknown; write {known}")
        self.contexts = Contexts(self.options, where)
        self.columns = {*self.uses, *((PARTIES, "traffic") if self.contexts.names else ())}
        self.columns |= {ADDRESSES} if self.contexts.needs_addresses else set()
        self.kinds: frozenset[int] | None = None
        self.test: Test | None = None
        self.counters: tuple[Counter, ...] = ()
        self.durations: tuple[Durations, ...] = ()
        self._cells = cells
        self._limit = limit

    @property
    def metrics(self) -> tuple[Counter | Durations, ...]:
        """All of its metrics."""
        return (*self.counters, *self.durations)

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """The cells to which such a flow adds one; a histogram is told at once."""
        raise NotImplementedError

    def _described(
        self, name: str, text: str, *own: str, wide: Values = (), is_context_first: bool = False
    ) -> Described:
        return Described(name, text, own, self.contexts.names, wide, is_context_first)

    def _counter(
        self, name: str, text: str, *own: str, wide: Values = (), is_context_first: bool = False
    ) -> Counter:
        described = self._described(name, text, *own, wide=wide, is_context_first=is_context_first)
        counter = Counter(described, self._cells, self._limit)
        self.counters = (*self.counters, counter)
        return counter

    def _add(
        self, counter: Counter, facts: FlowFacts, *own: str, labels: Labels | None = None
    ) -> tuple[int, ...]:
        contexts, pods = labels or self.contexts.labels(facts)
        return counter.cells(contexts, own, pods)


class Flows(Handler):
    """Every flow."""

    name = "flow"
    uses = ("type", "sub_type", "protocol", "flow_verdict")

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self._flows = self._counter(
            "hubble_flows_processed_total",
            "Flows that were seen.",
            "protocol", "type", "subtype", "verdict",
        )  # fmt: skip

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a flow."""
        kind, subtype = TYPES.get(facts.type, "Unknown"), ""
        if facts.type == L7:
            kind = "L7"
            subtype = {"dns": "DNS", "http": "HTTP", "kafka": "Kafka"}.get(facts.request, "")
        elif facts.type == TRACE:
            subtype = TRACE_POINTS.get(facts.sub_type, "")
        elif kind == "Unknown":
            subtype = str(facts.type)
        return self._add(self._flows, facts, facts.protocol_name, kind, subtype, facts.verdict_name)


class Drops(Handler):
    """What was dropped: as Cilium, the drop and the verdict that led to it both count."""

    name = "drop"
    uses = ("type", "flow_verdict", "drop_reason", "protocol")

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self._drops = self._counter(
            "hubble_drop_total", "Drops.", "reason", "protocol", is_context_first=True
        )

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a drop."""
        if facts.verdict != DROPPED:
            return ()
        reason = drop_reason_name(facts.drop_reason)
        return self._add(self._drops, facts, reason, facts.protocol_name)


class TcpFlags(Handler):
    """Flags that begin and end connections."""

    name = "tcp"
    uses = ("flow_verdict", "protocol", "ip", DETAIL)

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self._flags = self._counter(
            "hubble_tcp_flags_total", "TCP flags that were seen.", "flag", "family"
        )

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One for each of FIN, SYN or SYN-ACK, and RST."""
        if not facts.is_forwarded or facts.protocol != 6 or not facts.ip:
            return ()
        bits = facts.tcp_flags
        flags = ["FIN"] if bits & 0x01 else []
        if bits & 0x02:
            flags.append("SYN-ACK" if bits & 0x10 else "SYN")
        flags += ["RST"] if bits & 0x04 else []
        family = FAMILIES[facts.ip]
        return [cell for flag in flags for cell in self._add(self._flags, facts, flag, family)]


class PortDistribution(Handler):
    """Ports that were asked for."""

    name = "port-distribution"
    uses = ("flow_verdict", "protocol", REPLY, PORT)

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self.test = _went_on_and_is_no_reply
        self._ports = self._counter(
            "hubble_port_distribution_total",
            "Packets by their destination port.",
            "protocol", "port",
            wide=("port",),
        )  # fmt: skip

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a flow that went on and is known to be no reply."""
        protocol = facts.packet_protocol
        if not facts.is_forwarded or facts.reply != 0 or protocol == UNKNOWN_FLOW:
            return ()
        port = facts.port_text or "0"
        return self._add(self._ports, facts, protocol, port)


def _went_on_and_is_no_reply(rows: Rows) -> Mask:
    verdict = rows["flow_verdict"]
    passes: Mask = (verdict == FORWARDED) | (verdict == REDIRECTED)
    passes &= rows["reply"] == 0
    return passes


class Icmp(Handler):
    """ICMP messages."""

    name = "icmp"
    uses = ("protocol", DETAIL)

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self._messages = self._counter(
            "hubble_icmp_total", "ICMP messages that were seen.", "family", "type"
        )

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a message."""
        if facts.protocol not in (1, 58):
            return ()
        family, types = ("IPv4", ICMP) if facts.protocol == 1 else ("IPv6", ICMP_6)
        kind = icmp_text(types, facts.icmp_type, facts.icmp_code)
        return self._add(self._messages, facts, family, kind)


class PolicyVerdicts(Handler):
    """What policies decided; the host's own connections are not judged and do not count."""

    name = "policy"
    uses = ("type", "flow_verdict", "match", "traffic", PARTIES, PROVENANCE)

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self.kinds = frozenset((POLICY_VERDICT, L7))
        self._verdicts = self._counter(
            "hubble_policy_verdicts_total",
            "Verdicts of policies.",
            "direction", "match", "action",
        )  # fmt: skip

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a verdict."""
        match = self._match(facts)
        if not match:
            return ()
        direction = direction_name(facts.traffic, "traffic_direction_unknown")
        return self._add(self._verdicts, facts, direction, match, facts.verdict_name.lower())

    def _match(self, facts: FlowFacts) -> str:
        if facts.type == L7:
            return f"l7/{facts.request}"
        if facts.type != POLICY_VERDICT or facts.source.identity == ReservedIdentity.HOST:
            return ""
        closed = [policy.verdict == "default-deny" for policy in facts.policies]
        if closed and all(closed):  # the row matches all, but no rule did
            return "none"
        return POLICY_MATCHES.get(facts.match, str(facts.match)).lower()


class FlowsToWorld(Handler):
    """What left the cluster."""

    name = "flows-to-world"
    own_options = ("any-drop", "port", "syn-only")
    uses = ("type", "flow_verdict", "drop_reason", "protocol", REPLY, DETAIL, PARTIES)
    WORLDS = frozenset(("reserved:world", "reserved:world-ipv4", "reserved:world-ipv6"))

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        port = ("port",) if "port" in self.options else ()
        self.columns |= set(port) and {PORT}
        self._flows = self._counter(
            "hubble_flows_to_world_total",
            "Flows to outside of the cluster.",
            "protocol", "verdict", *port,
            wide=("port",),
        )  # fmt: skip

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a flow; of drops those by policy, unless `any-drop` is set."""
        if not self.WORLDS.intersection(facts.destination.labels) or not self._is_counted(facts):
            return ()
        own = (facts.port_text,) if "port" in self.options else ()
        return self._add(self._flows, facts, facts.protocol_name, facts.verdict_name, *own)

    def _is_counted(self, facts: FlowFacts) -> bool:
        if facts.packet_protocol == UNKNOWN_FLOW:
            return False
        if facts.verdict == DROPPED:
            counts = "any-drop" in self.options or facts.drop_reason == POLICY_DENIED
        else:
            counts = facts.reply != 1
        is_syn = facts.protocol == 6 and bool(facts.tcp_flags & 0x02) and facts.reply != 1
        return counts and ("syn-only" not in self.options or is_syn)


class PolicyNames(Handler):
    """Verdicts by the policy that gave them: beyond what Cilium counts."""

    name = "policy-name"
    uses = ("type", "flow_verdict", "traffic", PROVENANCE)

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self.kinds = frozenset((POLICY_VERDICT,))
        self._verdicts = self._counter(
            "hubble_policy_verdicts_by_policy_total",
            "Verdicts by policy; a policy that closed its direction counts what it denied so.",
            "kind", "namespace", "policy", "direction", "verdict",
            wide=("kind", "namespace", "policy"),
        )  # fmt: skip

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a policy that had a say; `unknown` for one that has gone."""
        if not facts.is_judged:
            return ()
        named = {(one.kind, one.namespace, one.name) for one in facts.policies}
        direction = direction_name(facts.traffic, "unknown")
        verdict = facts.verdict_name.lower()
        return [
            cell
            for policy in sorted(named or {("unknown",) * 3})
            for cell in self._add(self._verdicts, facts, *policy, direction, verdict)
        ]
