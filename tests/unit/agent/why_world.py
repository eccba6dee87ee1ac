"""A small cluster that questions of `why` are asked about."""

import ipaddress

import msgspec
from msgspec.structs import astuple

from cilia.agent.why import WhyRequest, WhySettings, why
from cilia.model.identities import reserved_labels
from cilia.model.labels import label_set, pod_labels
from cilia.model.prefixes import prefix_key
from cilia.model.rules import PolicyKey
from cilia.policy.changes import Change, changed
from cilia.policy.contents import Enforcement
from cilia.policy.engine import PolicyEngine
from cilia.policy.sources import parse_policy
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.frontends import Backend, Frontend
from cilia.state.identities import IdentityRow
from cilia.state.ipcache import IpcacheRow
from cilia.state.namespaces import Namespace
from cilia.state.policies import PolicyObject
from cilia.state.ports import NamedPort
from cilia.state.remote_endpoints import RemoteEndpoint
from cilia.state.services import Service, ServicePort
from cilia.state.tables import Tables

SPACES = {"default": {}, "blue": {"env": "test"}, "red": {"env": "prod"}}
PODS = {
    # name: identity, labels, address, named ports, on this node
    "default/xwing": (1001, {"org": "alliance", "class": "xwing"}, "10.0.1.1", (), True),
    "default/tiefighter": (1002, {"org": "empire", "class": "tiefighter"}, "10.0.1.2", (), True),
    "default/deathstar-1": (
        1003, {"org": "empire", "class": "deathstar"}, "10.0.1.3",
        (NamedPort("http", "TCP", 80),), True,
    ),
    "default/deathstar-2": (
        1003, {"org": "empire", "class": "deathstar"}, "10.0.2.3",
        (NamedPort("http", "TCP", 80),), False,
    ),
    "blue/web": (1005, {"app": "web"}, "10.0.1.5", (NamedPort("web", "TCP", 8080),), True),
    "red/db": (1006, {"app": "db"}, "10.0.2.6", (NamedPort("sql", "TCP", 5432),), False),
    "red/backup": (1007, {"app": "backup"}, "10.0.1.7", (), True),
    "red/vault": (1008, {"app": "vault"}, "10.0.1.8", (), True),
}  # fmt: skip


def cilium(name, namespace, spec):
    kind = "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy"
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec}


def tcp(port):
    return [{"ports": [{"port": str(port), "protocol": "TCP"}]}]


def labelled(**labels):
    return {"matchLabels": labels}


POLICIES = [
    cilium("rule1", "default", {
        "endpointSelector": labelled(org="empire", **{"class": "deathstar"}),
        "ingress": [{"fromEndpoints": [labelled(org="empire")], "toPorts": tcp(80)}],
    }),
    {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "db", "namespace": "red"},
        "spec": {
            "podSelector": labelled(app="db"), "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"namespaceSelector": labelled(env="test"),
                           "podSelector": labelled(app="web")}], "ports": [{"port": "sql"}]},
                {"from": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.9/32"]}}]},
            ],
        },
    },
    cilium("out", "blue", {
        "endpointSelector": labelled(app="web"),
        "egress": [
            {"toEndpoints": [labelled(app="db", **{"k8s:io.kubernetes.pod.namespace": "red"})]},
            {"toCIDR": ["198.51.100.0/24"], "toPorts": tcp(443)},
            {"icmps": [{"fields": [{"type": 8}]}]},
        ],
        "egressDeny": [{"toCIDR": ["198.51.100.66/32"]}],
    }),
    cilium("vault", "", {
        "endpointSelector": labelled(app="vault"),
        "ingress": [{"fromEntities": ["remote-node"]}],
        "ingressDeny": [{"fromEndpoints": [labelled(app="backup")]}],
    }),
]  # fmt: skip


class World:
    """Tables and an engine as an agent would have them."""

    def __init__(self, policies=POLICIES, enforcement=Enforcement.DEFAULT, **chosen):
        self.tables = Tables()
        self.engine = PolicyEngine(enforcement)
        self.settings = WhySettings(enforcement=enforcement, **chosen)
        tables = self.tables
        tables.namespaces.upsert(
            *[Namespace(name, tuple(labels.items())) for name, labels in SPACES.items()]
        )
        for number, labels in reserved_labels().items():
            tables.identities.upsert(IdentityRow(number, labels))
        for index, (name, pod) in enumerate(PODS.items()):
            self.add_pod(index + 10, name, *pod)
        for address, identity in (("172.30.0.11", 1), ("172.30.0.12", 6)):
            network = ipaddress.ip_network(address)
            tables.ipcache.upsert(IpcacheRow(prefix_key(network), identity, source="node"))
        backends = tuple(Backend(a, 80, "TCP") for a in ("10.0.1.3", "10.0.2.3"))
        tables.services.upsert(
            Service("default", "deathstar", "ClusterIP", ("10.96.0.5",),
                    (ServicePort("main", "TCP", 8000),), 0, (("class", "deathstar"),)),
        )  # fmt: skip
        tables.frontends.upsert(
            Frontend("10.96.0.5", 8000, "TCP", "default", "deathstar", "ClusterIP", backends),
            Frontend("10.96.0.6", 1, "TCP", "red", "two", "ClusterIP",
                     (Backend("10.0.2.6", 5432, "TCP"), Backend("10.0.1.7", 1, "TCP"))),
            Frontend("10.96.0.7", 1, "TCP", "red", "none", "ClusterIP", ()),
        )  # fmt: skip
        for policy in policies:
            self.put(policy)

    def add_pod(self, number, name, identity, labels, address, ports, here):
        space, pod = name.split("/")
        whole = pod_labels(namespace=space, labels=labels, namespace_labels=SPACES[space],
                           service_account="", cluster="default")  # fmt: skip
        self.tables.identities.upsert(IdentityRow(identity, label_set(whole)))
        network = ipaddress.ip_network(address)
        row = IpcacheRow(prefix_key(network), identity, "", "local", space, pod)
        self.tables.ipcache.upsert(row)
        if here:
            self.tables.endpoints.upsert(EndpointRow(
                number, space, pod, "", "", "", 0, "", "", address, None,
                EndpointState.READY, identity, named_ports=ports,
            ))  # fmt: skip
        else:
            self.tables.remote_endpoints.upsert(
                RemoteEndpoint(space, pod, identity, "172.30.0.12", (address,), ports)
            )

    def put(self, document, source=""):
        policy = parse_policy(document, source=source)
        key = policy.key
        self.engine.set_policy(policy)
        self.tables.policies.upsert(
            PolicyObject(
                key.kind, key.namespace, key.name, "", 1, msgspec.json.encode(document), key.source
            )
        )

    def ask(self, source, destination, port="", protocol="TCP", error=""):
        request = WhyRequest(source, destination, str(port), protocol)
        return why(self.tables, self.engine, request, self.settings, error)

    def do(self, change):
        """Makes a change that an answer proposes."""
        key = PolicyKey(change["kind"], change["namespace"], change["name"], change["source"])
        row = self.tables.policies.get(astuple(key))
        before = msgspec.json.decode(row.text) if row is not None else None
        after = changed(before, Change(change["action"], key, change["path"], change["value"]))
        if after is None:
            self.engine.delete_policy(key)
            self.tables.policies.delete(astuple(key))
        else:
            self.put(after, key.source)
