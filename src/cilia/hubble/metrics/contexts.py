"""Labels that say between whom: Cilium's context options.

Source:
    https://docs.cilium.io/en/stable/observability/metrics/#context-options
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from cilia.hubble.columns import EGRESS, INGRESS
from cilia.hubble.metrics.facts import FlowFacts, direction_name
from cilia.hubble.metrics.options import LABELS_CONTEXT, MetricsConfigError
from cilia.hubble.parties import Party

APP_LABELS = ("k8s:app.kubernetes.io/name", "k8s:k8s-app", "k8s:app")
API_SERVER = "reserved:kube-apiserver"
SHORT_POD = re.compile(r"(.+?)(-[a-z0-9]+){1,2}")

SIDE_OPTIONS = (
    "sourcecontext", "sourceingresscontext", "sourceegresscontext",
    "destinationcontext", "destinationingresscontext", "destinationegresscontext",
)  # fmt: skip
OPTIONS = (*SIDE_OPTIONS, LABELS_CONTEXT)


class Side(NamedTuple):
    """One side of a flow."""

    party: Party
    address: str
    names: tuple[str, ...]
    """DNS names of the address."""


def pod_of(side: Side) -> str:
    """`namespace/name`."""
    party = side.party
    return f"{party.namespace}/{party.pod}" if party.namespace else party.pod


def _short_pod(side: Side) -> str:
    found = SHORT_POD.fullmatch(side.party.pod)
    name = found[1] if found else side.party.pod
    return f"{side.party.namespace}/{name}" if side.party.namespace else name


def _workload(side: Side) -> str:
    name = _workload_name(side)
    return f"{side.party.namespace}/{name}" if name and side.party.namespace else name


def _workload_name(side: Side) -> str:
    return side.party.workloads[0][0] if side.party.workloads else ""


def _workload_kind(side: Side) -> str:
    return side.party.workloads[0][1] if side.party.workloads else ""


def _app(side: Side) -> str:
    for label in side.party.labels:
        key, _, value = label.partition("=")
        if key in APP_LABELS and value:
            return value
    return ""


def _reserved(side: Side) -> str:
    reserved = [label for label in side.party.labels if label.startswith("reserved:")]
    return API_SERVER if API_SERVER in reserved else next(iter(reserved), "")


IDENTIFIERS: Mapping[str, Callable[[Side], str]] = {
    "identity": lambda side: ",".join(side.party.labels),
    "namespace": lambda side: side.party.namespace,
    "pod": pod_of,
    "pod-short": _short_pod,
    "pod-name": lambda side: side.party.pod,
    "dns": lambda side: ",".join(side.names),
    "ip": lambda side: side.address,
    "reserved-identity": _reserved,
    "workload": _workload,
    "workload-name": _workload_name,
    "app": _app,
}
SIDE_LABELS: Mapping[str, Callable[[Side], str]] = {
    "ip": IDENTIFIERS["ip"],
    "pod": IDENTIFIERS["pod-name"],
    "namespace": IDENTIFIERS["namespace"],
    "workload": _workload_name,
    "workload_kind": _workload_kind,
    "app": _app,
}
LABELS = (
    *(f"{side}_{label}" for side in ("source", "destination") for label in SIDE_LABELS),
    "traffic_direction",
)
"""In the order in which they are written."""


class Labels(NamedTuple):
    """Values of the labels of a context."""

    values: tuple[str, ...]
    pods: frozenset[str]
    """`namespace/name` of the pods that they name."""


NO_LABELS = Labels((), frozenset())


class Contexts:
    """The context options of one handler.

    Args:
        options: By name in lower case.
        where: For errors.

    Raises:
        MetricsConfigError: A value is unknown.
    """

    def __init__(self, options: Mapping[str, tuple[str, ...]], where: str) -> None:
        self._ways = {
            name: _checked(options[name], IDENTIFIERS, f"{where}: {name}")
            for name in SIDE_OPTIONS
            if options.get(name)
        }
        wanted = _checked(options.get(LABELS_CONTEXT, ()), LABELS, f"{where}: {LABELS_CONTEXT}")
        self._labels = tuple(label for label in LABELS if label in wanted)
        self._sides = tuple(
            side
            for side in ("source", "destination")
            if any(name.startswith(side) for name in self._ways)
        )
        self.names = (*self._labels, *self._sides)
        """Of the labels, in order."""
        used = {way for ways in self._ways.values() for way in ways}
        self.needs_addresses = bool(used & {"ip", "dns"}) or any(
            label.endswith("_ip") for label in self._labels
        )

    def labels(self, facts: FlowFacts, *, is_swapped: bool = False) -> Labels:
        """The values for a flow; `is_swapped`: as its answer would have them."""
        if not self.names:
            return NO_LABELS
        sides = {
            "source": Side(facts.source, facts.source_ip, facts.source_names),
            "destination": Side(facts.destination, facts.destination_ip, facts.destination_names),
        }
        pods: set[str] = set()
        first, second = self._chosen("source", facts), self._chosen("destination", facts)
        found = {"source": first, "destination": second}
        shown = {name: _shown(ways, sides[name], pods) for name, ways in found.items()}
        if is_swapped:
            sides = {"source": sides["destination"], "destination": sides["source"]}
            shown = {"source": shown["destination"], "destination": shown["source"]}
        values = [self._label(label, facts, sides, pods) for label in self._labels]
        return Labels((*values, *(shown[side] for side in self._sides)), frozenset(pods))

    def _chosen(self, side: str, facts: FlowFacts) -> tuple[str, ...]:
        special = {INGRESS: f"{side}ingresscontext", EGRESS: f"{side}egresscontext"}
        ways = self._ways.get(special.get(facts.traffic, ""))
        return ways if ways is not None else self._ways.get(f"{side}context", ())

    def _label(
        self, label: str, facts: FlowFacts, sides: Mapping[str, Side], pods: set[str]
    ) -> str:
        name, _, kind = label.partition("_")
        if name not in sides:
            return direction_name(facts.traffic, "unknown")
        if kind == "pod" and sides[name].party.pod:
            pods.add(pod_of(sides[name]))
        return SIDE_LABELS[kind](sides[name])


def _shown(ways: tuple[str, ...], side: Side, pods: set[str]) -> str:
    """The first that is not empty."""
    for way in ways:
        if value := IDENTIFIERS[way](side):
            if way in ("pod", "pod-name") and side.party.pod:
                pods.add(pod_of(side))
            return value
    return ""


def _checked(values: tuple[str, ...], known: Collection[str], where: str) -> tuple[str, ...]:
    for value in values:
        if value.lower() not in known:
            raise MetricsConfigError(f"{where}: {value!r} is unknown; there are {', '.join(known)}")
    return tuple(value.lower() for value in values)
