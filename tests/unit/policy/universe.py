"""A small universe that hypothesis fills: who there is, and which policies there can be."""

import ipaddress

from hypothesis import strategies as st

from cilia.model.identities import prefix_labels, reserved_labels
from cilia.model.labels import Label, label_set
from cilia.policy.resolution import CidrGroup, PolicyService

from .oracle import CLUSTER, NAMESPACE, NAMESPACE_LABELS, NUMBERS, Cluster, Party

NAMESPACES = {"red": {"env": "prod"}, "blue": {"env": "test"}}
APPS = ("web", "db", "job")
PROTOCOLS = {**NUMBERS, "ICMP": 1, "ICMPv6": 58}
PORTS = (1, 8, 79, 80, 81, 443, 8080, 65535)
ADDRESSES = ("10.0.0.1", "10.1.0.1", "10.1.2.3", "192.0.2.9", "fd00::1", "fd00:1::1", "2001:db8::1")
PREFIXES = (
    "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "192.0.2.0/24",
    "::/0", "fd00::/8", "fd00:1::/32", "::/1", "2001:db8::1/128",
)  # fmt: skip


def pod(namespace, labels, ports=(), cluster="default"):
    """A pod's party."""
    of_namespace = {**NAMESPACES[namespace], "kubernetes.io/metadata.name": namespace}
    found = [("k8s", k, v) for k, v in labels.items()]
    found += [("k8s", NAMESPACE_LABELS + k, v) for k, v in of_namespace.items()]
    found += [("k8s", NAMESPACE, namespace), ("k8s", CLUSTER, cluster)]
    return Party(tuple(sorted(found)), ports=tuple(sorted(ports)))


def reserved(number):
    """The party of a reserved identity."""
    keys = [label.removeprefix("reserved:") for label in reserved_labels()[number]]
    return Party(tuple(("reserved", key, "") for key in keys))


def outside(address):
    """An address that nobody manages."""
    return Party((("reserved", "world-ipv6" if ":" in address else "world-ipv4", ""),), address)


API_ADDRESS = "10.1.2.9"
API_IDENTITY = 0x01800000


def api_server():
    """An API server outside the cluster: an identity of its own with a cidr label."""
    return Party((*outside(API_ADDRESS).labels, ("reserved", "kube-apiserver", "")), API_ADDRESS)


def api_labels():
    """Labels of the API server's identity."""
    network = ipaddress.ip_network(API_ADDRESS)
    return label_set(["reserved:kube-apiserver", *prefix_labels(network, dual_stack=True)])


def labels_of(party):
    """A party's labels as the engine wants them."""
    return label_set(Label(*label) for label in party.labels)


def ports_of(party):
    """A party's named ports as the engine wants them."""
    return frozenset((name, NUMBERS[protocol], port) for name, protocol, port in party.ports)


PODS = st.builds(
    pod,
    st.sampled_from(sorted(NAMESPACES)),
    st.fixed_dictionaries({"app": st.sampled_from(APPS)},
                          optional={"tier": st.sampled_from("12"), "": st.nothing()}),
    st.sets(
        st.sampled_from([("http", "TCP", 80), ("http", "TCP", 8080), ("dns", "UDP", 79)]),
        max_size=2,
    ),
    st.sampled_from(["default", "default", "default", "other"]),
)  # fmt: skip


@st.composite
def expressions(draw, keys):
    """One matchExpressions item."""
    key = draw(st.sampled_from(keys))
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
    found = {"key": key, "operator": operator}
    if operator in ("In", "NotIn"):
        found["values"] = draw(
            st.lists(st.sampled_from([*APPS, "1", "prod"]), min_size=1, max_size=2)
        )
    return found


@st.composite
def selectors(draw, *, plain=False):
    """A label selector; `plain` for Kubernetes, whose keys have no source."""
    extra = (
        []
        if plain
        else [
            f"k8s:{NAMESPACE}",
            f"k8s:{NAMESPACE_LABELS}env",
            "k8s:app",
            "reserved:host",
            f"k8s:{CLUSTER}",
        ]
    )
    labels = {}
    if draw(st.booleans()):
        labels["app"] = draw(st.sampled_from(APPS))
    if extra and draw(st.integers(0, 4)) == 0:
        labels[f"k8s:{NAMESPACE}"] = draw(st.sampled_from(sorted(NAMESPACES)))
    rare = draw(st.integers(0, 2)) == 0
    items = [draw(expressions(["app", "tier", *extra]))] if rare else []
    found = {"matchLabels": labels} if labels else {}
    return found | ({"matchExpressions": items} if items else {})


@st.composite
def cidr_rules(draw):
    """One CIDRSet item."""
    form = draw(st.sampled_from(["cidr", "cidr", "cidrGroupRef", "cidrGroupSelector"]))
    if form == "cidrGroupRef":
        return {
            form: draw(st.sampled_from(["office", "nowhere"])),
            "except": draw(st.lists(st.sampled_from(PREFIXES), max_size=1)),
        }
    if form == "cidrGroupSelector":
        return {form: {"matchLabels": {"kind": "site"}}}
    cidr = draw(st.sampled_from(PREFIXES))
    outer = ipaddress.ip_network(cidr)
    inner = [
        p
        for p in map(ipaddress.ip_network, PREFIXES)
        if p.version == outer.version and p.network_address in outer
    ]
    return {
        "cidr": cidr,
        "except": draw(st.lists(st.sampled_from(list(map(str, inner))), max_size=2)),
    }


SERVICES = st.one_of(
    st.fixed_dictionaries({"k8sService": st.fixed_dictionaries(
        {"serviceName": st.sampled_from(["front", "legacy"])},
        optional={"namespace": st.sampled_from(sorted(NAMESPACES))})}),
    st.fixed_dictionaries({"k8sServiceSelector": st.fixed_dictionaries(
        {"selector": st.just({"matchLabels": {"team": "a"}})},
        optional={"namespace": st.sampled_from(sorted(NAMESPACES))})}),
)  # fmt: skip
ENTITIES = st.sampled_from(
    ["all", "world", "cluster", "host", "remote-node", "kube-apiserver", "init", "none", "health"]
)
PORT_ITEMS = st.one_of(
    st.fixed_dictionaries(
        {"port": st.sampled_from(["0", "80", "79", "443", "1", "8080", "http", "dns", "HTTP"])},
        optional={"protocol": st.sampled_from(["TCP", "UDP", "ANY", "SCTP"])}),
    st.fixed_dictionaries(
        {"port": st.sampled_from(["1", "64", "79"]), "endPort": st.sampled_from([10, 80, 65535]),
         "protocol": st.sampled_from(["TCP", "UDP", "ANY"])}),
)  # fmt: skip
ICMPS = st.fixed_dictionaries(
    {"type": st.sampled_from([1, 8])}, optional={"family": st.sampled_from(["IPv4", "IPv6"])}
)


@st.composite
def entries(draw, head):
    """One item of ingress, egress or a deny list."""
    peers = {
        "Endpoints": st.lists(selectors(), min_size=1, max_size=2) | st.just([]),
        "Entities": st.lists(ENTITIES, min_size=1, max_size=2),
        "CIDR": st.lists(st.sampled_from([*PREFIXES, "10.1.2.3"]), max_size=3),
        "CIDRSet": st.lists(cidr_rules(), max_size=2),
    }
    if head == "to":
        peers["Services"] = st.lists(SERVICES, max_size=1)
    found = {}
    if draw(st.integers(0, 5)):
        kind = draw(st.sampled_from(["Endpoints", *sorted(peers)]))
        found[head + kind] = draw(peers[kind])
    shape = draw(st.integers(0, 4))
    if shape in (1, 2):
        found["toPorts"] = [{"ports": draw(st.lists(PORT_ITEMS, min_size=1, max_size=2))}]
    elif shape == 4:
        found["icmps"] = [{"fields": draw(st.lists(ICMPS, min_size=1, max_size=2))}]
    return found


@st.composite
def specs(draw):
    """One spec."""
    lists = draw(
        st.lists(
            st.sampled_from(["ingress", "egress", "ingressDeny", "egressDeny"]),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    spec = {"endpointSelector": draw(selectors(plain=draw(st.booleans())))}
    for name in lists:
        head = "from" if name.startswith("in") else "to"
        spec[name] = draw(st.lists(entries(head), min_size=1, max_size=3))
    if draw(st.integers(0, 3)) == 0:
        spec["enableDefaultDeny"] = draw(
            st.dictionaries(st.sampled_from(["ingress", "egress"]), st.booleans())
        )
    return spec


KUBERNETES_PEERS = st.one_of(
    st.fixed_dictionaries({"podSelector": selectors(plain=True)}),
    st.fixed_dictionaries({"namespaceSelector": st.sampled_from(
        [{}, {"matchLabels": {"env": "prod"}}, {"matchLabels": {"env": "none"}},
         {"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["prod"]}]}])},
        optional={"podSelector": selectors(plain=True)}),
    st.sampled_from([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                     {"ipBlock": {"cidr": "::/0"}}, {"ipBlock": {"cidr": "0.0.0.0/0"}}]),
)  # fmt: skip
KUBERNETES_PORTS = st.one_of(
    st.fixed_dictionaries({}, optional={"port": st.sampled_from([80, 443, "http", "dns"]),
                                        "protocol": st.sampled_from(["TCP", "UDP"])}),
    st.sampled_from([{"port": 79, "endPort": 81}, {"port": 1, "endPort": 65535}]),
)  # fmt: skip


@st.composite
def kubernetes_specs(draw):
    """The spec of a NetworkPolicy."""
    spec = {"podSelector": draw(selectors(plain=True))}
    for name, head in (("ingress", "from"), ("egress", "to")):
        if draw(st.booleans()):
            spec[name] = draw(st.lists(st.fixed_dictionaries({}, optional={
                head: st.lists(KUBERNETES_PEERS, max_size=2),
                "ports": st.lists(KUBERNETES_PORTS, max_size=2)}), max_size=2))  # fmt: skip
    types = draw(st.sampled_from([None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
    return spec | ({"policyTypes": types} if types else {})


@st.composite
def policies(draw, name="p"):
    """One policy object of any kind."""
    kind = draw(
        st.sampled_from(
            [
                "CiliumNetworkPolicy",
                "CiliumNetworkPolicy",
                "CiliumClusterwideNetworkPolicy",
                "NetworkPolicy",
            ]
        )
    )
    metadata = {"name": name}
    if kind != "CiliumClusterwideNetworkPolicy":
        metadata["namespace"] = draw(st.sampled_from(sorted(NAMESPACES)))
    found = {"kind": kind, "metadata": metadata}
    if kind == "NetworkPolicy":
        return found | {"spec": draw(kubernetes_specs())}
    if draw(st.integers(0, 3)) == 0:
        return found | {"specs": draw(st.lists(specs(), min_size=1, max_size=2))}
    return found | {"spec": draw(specs())}


GROUPS = st.fixed_dictionaries({}, optional={
    "office": st.tuples(st.sampled_from([{}, {"kind": "site"}]),
                        st.lists(st.sampled_from(PREFIXES), max_size=2)),
    "plant": st.tuples(st.sampled_from([{}, {"kind": "site"}]),
                       st.lists(st.sampled_from(PREFIXES), max_size=2)),
})  # fmt: skip
SERVICE_LISTS = st.lists(
    st.sampled_from([
        {"namespace": "red", "name": "front", "labels": {"team": "a"}, "selector": {"app": "web"},
         "addresses": []},
        {"namespace": "blue", "name": "front", "labels": {}, "selector": {"app": "db"},
         "addresses": []},
        {"namespace": "blue", "name": "legacy", "labels": {"team": "a"}, "selector": {},
         "addresses": ["10.1.2.3", "fd00::1"]},
    ]),
    max_size=3, unique_by=lambda s: (s["namespace"], s["name"]),
)  # fmt: skip


def cluster_of(groups, services, mode="default"):
    """The oracle's cluster."""
    return Cluster(groups, services, mode)


def engine_groups(groups):
    """Groups as the engine wants them."""
    return [CidrGroup(name, label_set(Label("k8s", k, v) for k, v in labels.items()), tuple(found))
            for name, (labels, found) in groups.items()]  # fmt: skip


def engine_services(services):
    """Services as the engine wants them."""
    return [
        PolicyService(s["namespace"], s["name"],
                      label_set(Label("k8s", k, v) for k, v in s["labels"].items()),
                      s["selector"], tuple(s["addresses"]))
        for s in services
    ]  # fmt: skip
