"""Who words mean: pods, services, addresses, identities and label sets as parties of policy."""

import ipaddress
from collections.abc import Iterator

import msgspec

from cilia.model.errors import InvalidValue, NotFound
from cilia.model.identities import ReservedIdentity, reserved_labels, world_identity
from cilia.model.labels import (
    CLUSTER,
    NAMESPACE,
    SOURCES,
    LabelSet,
    cidr_of_label,
    label_set,
    label_value,
    parse_label,
    pod_labels,
)
from cilia.model.ports import NamedPorts
from cilia.policy import facts
from cilia.policy.connection import Party
from cilia.policy.decision import Ports
from cilia.policy.whatif import DESTINATION, SOURCE
from cilia.state.frontends import Frontend
from cilia.state.tables import Tables

IMAGINED = {SOURCE: 0xFFFFFF01, DESTINATION: 0xFFFFFF02}
"""Numbers of label sets that nothing has, in the engine that is asked."""
_WORLDS = (ReservedIdentity.WORLD, ReservedIdentity.WORLD_IPV4, ReservedIdentity.WORLD_IPV6)
_OUTSIDE = ("world", "")


class Destination(msgspec.Struct, frozen=True):
    """Where a connection ends."""

    party: Party
    ports: Ports
    any_port: bool = False
    service: str = ""
    """The service that leads there, and how."""
    notes: tuple[str, ...] = ()


class Parties:
    """Finds parties in the tables.

    Args:
        cluster: This cluster's name.
        dual_stack: Whether it has both families.
        cidr_matches: What CIDR rules match by address besides the world: nodes, pods.
    """

    def __init__(
        self,
        tables: Tables,
        cluster: str,
        *,
        dual_stack: bool,
        cidr_matches: frozenset[str] = frozenset(),
    ) -> None:
        self._tables = tables
        self._cluster = cluster
        self._dual_stack = dual_stack
        self._cidr_matches = cidr_matches

    def source(self, word: str) -> Party:
        """Returns who a word means.

        Raises:
            InvalidValue: it is written wrongly.
            NotFound: there is nobody of that name.
        """
        found = self._party(word, SOURCE)
        if found is None:
            raise NotFound(f"{word}: no pod of this name; see `kubectl get pods -A`")
        return found

    def destinations(self, word: str, port: str, protocol: int) -> list[Destination]:
        """Returns where connections to a word end: of a service, its backends.

        Raises:
            InvalidValue: it, or its port, is written wrongly.
            NotFound: there is nobody of that name.
        """
        frontends = self._frontends(word)
        if frontends:
            return self._backends(word, frontends, port, protocol)
        party = self._party(word, DESTINATION)
        if party is None:
            raise NotFound(f"{word}: no pod or service of this name; see `kubectl get pods,svc -A`")
        if not port:
            return [Destination(party, Ports(protocol, 0), any_port=True)]
        return [Destination(party, _ports(party, port, protocol))]

    def _party(self, word: str, place: int) -> Party | None:
        if not word:
            raise InvalidValue("a party is missing; write from=… and to=…")
        if word.isdecimal():
            return self._identity(int(word), place)
        if "=" in word or word.partition(":")[0] in SOURCES:
            return self._labelled(word, place)
        try:
            network = ipaddress.ip_network(word, strict=False)
        except ValueError:
            return self._named(word, place)
        return self._address(network, place)

    def _named(self, word: str, place: int) -> Party | None:
        namespace, slash, name = word.partition("/")
        key = (namespace, name) if slash else ("default", word)
        for row in self._tables.endpoints.by("pod", key):
            if row.identity is None:
                raise InvalidValue(f"pod {'/'.join(key)} has no identity yet: nothing passes")
            ports = facts.named_ports(row.named_ports)
            found = self._pod("/".join(key), row.identity, place, ports)
            return self._placed(found, row.v4 or row.v6)
        other = self._tables.remote_endpoints.get(key)
        if other is not None:
            ports = facts.named_ports(other.named_ports)
            found = self._pod("/".join(key), other.identity, place, ports)
            return self._placed(found, next(iter(other.addresses), None))
        entities = {i.label_name: int(i) for i in ReservedIdentity if int(i) in reserved_labels()}
        if word == "world":
            version = 4 if self._dual_stack else None
            return self._identity(int(world_identity(version, dual_stack=self._dual_stack)), place)
        return self._identity(entities[word], place) if word in entities else None

    def _placed(self, pod: Party, address: str | None) -> Party:
        """A pod at its address, if CIDR rules match pods by it."""
        if address is None or "pods" not in self._cidr_matches:
            return pod
        return msgspec.structs.replace(pod, at=ipaddress.ip_network(address))

    def _pod(self, title: str, identity: int, place: int, ports: NamedPorts) -> Party:
        labels = self._labels(identity)
        if identity < 256:
            return Party(title, identity, labels=labels, ports=ports)
        return Party(title, identity, place, labels, ports)

    def _labels(self, identity: int) -> LabelSet:
        row = self._tables.identities.get(identity)
        return row.labels if row is not None else reserved_labels().get(identity, ())

    def _identity(self, number: int, place: int) -> Party:
        labels = self._labels(number)
        if not labels:
            raise NotFound(f"identity {number}: not known here; see `cilia identity list`")
        shown = ", ".join(label.removeprefix("reserved:") for label in labels if _tells(label))
        title = f"identity {number} ({shown})"
        prefix = next((p for label in labels if (p := cidr_of_label(label))), None)
        is_pod = label_value(labels, f"k8s:{NAMESPACE}") is not None
        if prefix is not None and number != ReservedIdentity.KUBE_APISERVER and len(labels) == 2:
            return Party(title, prefix)
        return Party(title, number, place if is_pod else 0, labels, self._identity_ports(number))

    def _identity_ports(self, number: int) -> NamedPorts:
        return facts.identity_ports(self._tables, number)

    def _labelled(self, word: str, place: int) -> Party:
        given = [parse_label(part.strip(), "k8s") for part in word.split(",") if part.strip()]
        if any(label.source == "reserved" for label in given):
            wanted = label_set(given)
            for number, labels in reserved_labels().items():
                if set(wanted) <= set(labels):
                    return self._identity(number, place)
            raise NotFound(f"{word}: no reserved identity has these labels")
        own = {label.key: label.value for label in given if label.source in ("k8s", "any")}
        namespace = own.pop(NAMESPACE, "default")
        row = self._tables.namespaces.get(namespace)
        whole = label_set(
            pod_labels(
                namespace=namespace,
                labels=own,
                namespace_labels=dict(row.labels) if row is not None else {},
                service_account="",
                cluster=own.get(CLUSTER, self._cluster),
            )
        )
        # What a pod cannot give itself it may still be imagined with.
        special = [
            label
            for label in given
            if label.key.startswith("io.cilium.k8s.") or label.source not in ("k8s", "any")
        ]
        return Party(
            f"a pod with {word}", IMAGINED[place], place, label_set([*whole, *map(str, special)])
        )

    def _address(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network, place: int) -> Party:
        whole = network.prefixlen == network.max_prefixlen
        title = str(network.network_address) if whole else str(network)
        holders = [
            row
            for row in self._tables.ipcache
            if row.prefix.version == network.version
            and row.prefix.prefixlen <= network.prefixlen
            and network.network_address in row.prefix
        ]
        row = max(holders, key=lambda each: each.prefix.prefixlen, default=None)
        if row is None or row.identity in _WORLDS or row.source in _OUTSIDE:
            return Party(title, network)
        at = network if whole and facts.is_matched(row, self._cidr_matches) else None
        if row.name and row.identity >= 256:
            found = self._named(f"{row.namespace}/{row.name}", place)
            if found is not None:
                return msgspec.structs.replace(found, title=f"{found.title} ({title})", at=at)
        found = self._identity(row.identity, place)
        return msgspec.structs.replace(found, title=f"{title}, {found.title}", at=at)

    def _frontends(self, word: str) -> list[Frontend]:
        namespace, slash, name = word.partition("/")
        key = (namespace, name) if slash else ("default", word)
        if self._tables.endpoints.by("pod", key) or self._tables.remote_endpoints.get(key):
            return []
        found = list(self._tables.frontends.by("service", key))
        return found or [row for row in self._tables.frontends if row.address == word]

    def _backends(
        self, word: str, frontends: list[Frontend], port: str, protocol: int
    ) -> list[Destination]:
        number = self._service_port(word, frontends, port)
        fitting = [
            row
            for row in frontends
            if _protocol_of(row.protocol) == protocol and number in (None, row.port)
        ]
        known = ", ".join(sorted({f"{row.port}/{row.protocol}" for row in frontends}))
        if not fitting or len({row.port for row in fitting}) > 1:
            raise InvalidValue(f"service {word}: name one of its ports: {known}")
        found = list(self._reached(fitting))
        if not found:
            name = f"{fitting[0].namespace}/{fitting[0].name}"
            raise NotFound(f"service {name} has no backends; see `cilia service list`")
        return found

    def _service_port(self, word: str, frontends: list[Frontend], port: str) -> int | None:
        if not port or port.isdecimal():
            return int(port) if port else None
        row = self._tables.services.get((frontends[0].namespace, frontends[0].name))
        named = [each.port for each in (row.ports if row is not None else ()) if each.name == port]
        if not named:
            raise InvalidValue(f"service {word} has no port named {port}")
        return named[0]

    def _reached(self, frontends: list[Frontend]) -> Iterator[Destination]:
        """Backends, one for all that policy cannot tell apart."""
        told: set[tuple[object, int]] = set()
        for row in frontends:
            for each in row.backends:
                party = self._address(ipaddress.ip_network(each.address), DESTINATION)
                if (party.peer, each.port) in told:
                    continue
                told.add((party.peer, each.port))
                text = f"{row.namespace}/{row.name} {_joined(row.address, row.port)}"
                text += f" leads to {_joined(each.address, each.port)}"
                ports = Ports(_protocol_of(each.protocol), each.port)
                yield Destination(party, ports, service=text)


def _protocol_of(name: str) -> int:
    return {"TCP": 6, "UDP": 17, "SCTP": 132}.get(name.upper(), 0)


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _tells(label: str) -> bool:
    """True for labels that tell people who it is; the rest all pods have."""
    return not label.startswith("k8s:io.cilium.k8s.")


def _ports(party: Party, port: str, protocol: int) -> Ports:
    if port.isdecimal():
        if int(port) > 65535:
            raise InvalidValue(f"port {port} is not one; write a number up to 65535")
        return Ports(protocol, int(port))
    named = [n for name, proto, n in party.ports if (name, proto) == (port.lower(), protocol)]
    if not named:
        known = ", ".join(sorted(name for name, _, _ in party.ports)) or "none"
        raise InvalidValue(f"{party.title} has no port named {port}; it has {known}")
    return Ports(protocol, named[0])
