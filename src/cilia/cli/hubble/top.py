"""`--top N --by …`: which flows there are most of."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from cilia.cli.hubble import wording
from cilia.cli.hubble.why import policies, policy_name
from cilia.cli.output import printable, table
from cilia.hubble.proto.flow.flow_pb2 import Flow

NAMES = wording.Names()
NONE = "-"


def _host(side: wording.Side) -> Callable[[Flow], str]:
    return lambda flow: wording.host(flow, side, NAMES)[0]


def _port(flow: Flow) -> str:
    """The port that was asked for: of a reply, where it comes from."""
    kind = flow.l4.WhichOneof("protocol") or ""
    port = wording.host(flow, "source" if wording.is_reply(flow) else "destination", NAMES)[1]
    return f"{port}/{kind}" if port else kind


def _identity(side: wording.Side) -> Callable[[Flow], str]:
    return lambda flow: wording.identity(flow, side)


def _namespace(side: wording.Side) -> Callable[[Flow], str]:
    return lambda flow: str(getattr(flow, side).namespace)


def _workload(side: wording.Side) -> Callable[[Flow], str]:
    """A pod's; of who is no pod, what the identity says."""

    def workload(flow: Flow) -> str:
        found = [f"{one.kind}/{one.name}".strip("/") for one in getattr(flow, side).workloads]
        return ",".join(found) or wording.identity(flow, side)

    return workload


def _service(flow: Flow) -> str:
    service = flow.destination_service
    return "/".join(filter(None, (service.namespace, service.name)))


def _reason(flow: Flow) -> str:
    return wording.event_type(flow) if flow.event_type.type == wording.DROP else ""


def _policy(flow: Flow) -> str:
    return ", ".join(dict.fromkeys(policy_name(one) for _, one in policies(flow)))


KEYS: dict[str, Callable[[Flow], str]] = {
    "source": _host("source"),
    "destination": _host("destination"),
    "source-identity": _identity("source"),
    "destination-identity": _identity("destination"),
    "source-namespace": _namespace("source"),
    "destination-namespace": _namespace("destination"),
    "source-workload": _workload("source"),
    "destination-workload": _workload("destination"),
    "service": _service,
    "port": _port,
    "verdict": wording.verdict,
    "reason": _reason,
    "policy": _policy,
    "type": wording.event_type,
    "node": lambda flow: flow.node_name,
}
"""What flows can be counted by."""
BOTH = {
    name: (f"source-{name}", f"destination-{name}")
    for name in ("identity", "namespace", "workload")
} | {"pod": ("source", "destination"), "drop-reason": ("reason",)}
"""Words that stand for other keys."""


def keys_of(words: Iterable[str]) -> list[str]:
    """The keys that words stand for, each once.

    >>> keys_of(["workload", "port", "source-workload"])
    ['source-workload', 'destination-workload', 'port']
    """
    return list(dict.fromkeys(key for word in words for key in BOTH.get(word, (word,))))


class Top:
    """Counts flows by some of `KEYS`.

    Args:
        by: The names of the keys.
    """

    def __init__(self, by: Sequence[str]) -> None:
        self._by = tuple(by)
        self._counts: Counter[tuple[str, ...]] = Counter()

    def count(self, flows: Iterable[Flow]) -> None:
        """Counts these; their keys are printable."""
        keys = [KEYS[name] for name in self._by]
        self._counts.update(tuple(printable(key(flow)) or NONE for key in keys) for flow in flows)

    def rows(self, number: int) -> list[tuple[int, tuple[str, ...]]]:
        """The `number` most frequent, the most frequent first, then by name."""
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return [(count, key) for key, count in ordered[:number]]

    def text(self, number: int) -> str:
        """Those as a table, with their share of all flows."""
        total = self._counts.total() or 1
        titles = ["FLOWS", "SHARE", *(name.upper() for name in self._by)]
        rows = [
            [f"{count:,}", f"{100 * count / total:.1f}%", *key] for count, key in self.rows(number)
        ]
        return "\n".join(line.rstrip() for line in table(titles, rows).splitlines())
