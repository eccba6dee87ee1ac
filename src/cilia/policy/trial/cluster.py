"""A cluster that exists on paper: manifests in an engine that no kernel follows."""

import ipaddress
from collections.abc import Iterable, Mapping, Set
from typing import TypeVar

import msgspec

from cilia.model.identities import CLUSTER_FIRST, ReservedIdentity
from cilia.model.label_filter import LabelFilter
from cilia.model.labels import LabelSet, node_labels, pod_labels
from cilia.model.ports import NamedPorts
from cilia.model.prefixes import prefix_key
from cilia.policy.connection import Judgement, Party, judge
from cilia.policy.contents import Enforcement
from cilia.policy.decision import Decider, Ports
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.sources import Context
from cilia.policy.trial.manifests import Manifests, Name, Pod

Key = TypeVar("Key", str, Name)

REMOTE_NODE = int(ReservedIdentity.REMOTE_NODE)


class Cluster:
    """Manifests, and the parties that cases speak of.

    Attributes:
        manifests: What there is.
        pods: The party of each pod.
        nodes: The party of each node.
        addresses: The party at each address that a pod or node has.
        decider: The engine and its rows.
    """

    def __init__(
        self,
        manifests: Manifests,
        context: Context | None = None,
        enforcement: Enforcement = Enforcement.DEFAULT,
        cidr_matches: Set[str] = frozenset(),
    ) -> None:
        self.manifests = manifests
        self.decider = Decider(PolicyEngine(enforcement))
        self._context = context or Context()
        self._filter = LabelFilter()
        self._identities: dict[LabelSet, int] = {}
        self._ports: dict[int, NamedPorts] = {}
        self._made: dict[tuple[LabelSet, NamedPorts], Party] = {}
        self.nodes = {name: self._node(name) for name in manifests.nodes}
        self.pods: dict[Name, Party] = {key: self._pod(p) for key, p in manifests.pods.items()}
        self.addresses: dict[str, Party] = {}
        for node in manifests.nodes.values():
            self._place(self.nodes, node.name, node.addresses, matched="nodes" in cidr_matches)
        for key, pod in manifests.pods.items():
            if not pod.host_network:
                self._place(self.pods, key, pod.addresses, matched="pods" in cidr_matches)
        engine = self.decider.engine
        engine.set_cidr_groups(manifests.groups.values())
        engine.set_services(
            msgspec.structs.replace(
                service.rules, backends=tuple(sorted(set(manifests.backends.get(key, ()))))
            )
            if not service.rules.selector
            else service.rules
            for key, service in manifests.services.items()
        )
        for policy in manifests.policies.values():
            engine.set_policy(policy)

    def imagine(
        self, labels: Mapping[str, str], namespace: str, service_account: str, ports: NamedPorts
    ) -> Party:
        """The party of a pod that no manifest makes."""
        shown = ", ".join(f"{k}={v}" for k, v in sorted(labels.items())) or "no labels"
        title = f"a pod in {namespace} with {shown}"
        return self._party(title, namespace, labels, service_account, ports)

    def judge(self, source: Party, destination: Party, ports: Ports) -> Judgement:
        """What both ends decide of a connection; `decider.commit` comes first."""
        return judge(self.decider, source, destination, ports)

    def backends(self, service: Name) -> list[Name]:
        """The pods that a service's selector selects."""
        wanted = self.manifests.services[service].rules.selector.items()
        return [
            key
            for key, pod in self.manifests.pods.items()
            if wanted and key[0] == service[0] and wanted <= pod.labels.items()
        ]

    def _pod(self, pod: Pod) -> Party:
        title = f"{pod.namespace}/{pod.name}"
        if pod.host_network:
            return Party(f"{title} (host network)", REMOTE_NODE, ports=pod.ports)
        return self._party(title, pod.namespace, pod.labels, pod.service_account, pod.ports)

    def _party(
        self,
        title: str,
        namespace: str,
        labels: Mapping[str, str],
        service_account: str,
        ports: NamedPorts,
    ) -> Party:
        whole = pod_labels(
            namespace=namespace,
            labels=labels,
            namespace_labels=self.manifests.namespaces.get(namespace, {}),
            service_account=service_account,
            cluster=self._context.cluster,
        )
        found = self._filter.apply(whole)
        made = self._made.get((found, ports))
        if made is None:
            identity = self._identity(found, ports)
            endpoint = len(self._made) + 1
            self.decider.engine.set_endpoint(endpoint, Endpoint(identity, ports))
            made = self._made[found, ports] = Party(title, identity, endpoint, found, ports)
        return msgspec.structs.replace(made, title=title)

    def _place(
        self, named: dict[Key, Party], name: Key, addresses: Iterable[str], *, matched: bool
    ) -> None:
        """Says where a party is; by its name it is met at its first address."""
        parties = []
        for address in addresses:
            party = named[name]
            if matched and isinstance(party.peer, int):
                at = ipaddress.ip_network(address)
                self.decider.engine.set_address(prefix_key(at), party.peer)
                party = msgspec.structs.replace(party, at=at)
            self.addresses[address] = party
            parties.append(party)
        if parties:
            named[name] = parties[0]

    def _node(self, name: str) -> Party:
        if not self._context.nodes_by_label:
            return Party(f"node {name}", REMOTE_NODE)
        found = node_labels(self.manifests.nodes[name].labels, self._context.cluster)
        return Party(f"node {name}", self._identity(found, frozenset()), labels=found)

    def _identity(self, labels: LabelSet, ports: NamedPorts) -> int:
        number = self._identities.setdefault(labels, CLUSTER_FIRST + len(self._identities))
        self._ports[number] = self._ports.get(number, frozenset()) | ports
        self.decider.engine.set_identity(number, labels, self._ports[number])
        return number
