"""Policies by chance, in the labels, ports and addresses of the lab's pods and world."""

from collections.abc import Callable
from random import Random
from typing import Any

Json = dict[str, Any]

SPACE, TEAM = "k8s:io.kubernetes.pod.namespace", "k8s:io.cilium.k8s.namespace.labels.team"
VALUES = {
    "pod": ("a", "b", "c"),
    "role": ("database", "frontend", "batch"),
    SPACE: ("x", "y", "z"),
    TEAM: ("x", "y", "z"),
    "absent": ("x",),
}
PREFIXES = (
    "0.0.0.0/0", "1.0.0.0/8", "1.1.1.1/32", "8.0.0.0/7", "10.0.0.0/8", "172.30.0.0/24",
    "::/0", "2606:4700::/32", "2606:4700:4700::1001/128", "2001:4860::/32", "fd00::/8",
)  # fmt: skip
HOLES = {
    "0.0.0.0/0": ("1.1.1.0/24", "8.8.8.8/32", "0.0.0.0/1"),
    "1.0.0.0/8": ("1.0.0.1/32", "1.1.0.0/16"),
    "::/0": ("2606:4700::/32", "2000::/3"),
    "2606:4700::/32": ("2606:4700:4700::1111/128",),
}
ENTITIES = ("all", "world", "cluster", "host", "remote-node", "none", "health", "kube-apiserver")
NAMES = ("web", "serve-80-tcp", "serve-81-udp", "nowhere")


def policies(random: Random) -> list[Json]:
    """A few policies of mixed kinds."""
    kinds: list[Callable[[Random, str], Json]] = [_namespaced, _namespaced, _clusterwide, _plain]
    return [random.choice(kinds)(random, f"p{number}") for number in range(random.randint(1, 5))]


def _namespaced(random: Random, name: str) -> Json:
    metadata = {"name": name, "namespace": random.choice("xyz")}
    return _cilium(random, "CiliumNetworkPolicy", metadata)


def _clusterwide(random: Random, name: str) -> Json:
    found = _cilium(random, "CiliumClusterwideNetworkPolicy", {"name": name})
    for spec in [found.get("spec"), *found.get("specs", ())]:
        if spec is not None:
            # Cluster DNS and whatever else is there is left alone.
            expression = {"key": SPACE, "operator": "In", "values": ["x", "y", "z"]}
            spec["endpointSelector"].setdefault("matchExpressions", []).append(expression)
    return found


def _cilium(random: Random, kind: str, metadata: Json) -> Json:
    found = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata}
    if random.random() < 0.2:
        return found | {"specs": [_spec(random), _spec(random)]}
    return found | {"spec": _spec(random)}


def _spec(random: Random) -> Json:
    found: Json = {"endpointSelector": _selector(random)}
    lists = random.sample(["ingress", "egress", "ingressDeny", "egressDeny"], random.randint(1, 3))
    for name in lists:
        head = "from" if name.startswith("ingress") else "to"
        found[name] = [_entry(random, head) for _ in range(random.randint(1, 3))]
    if random.random() < 0.3:
        ways = random.sample(["ingress", "egress"], random.randint(1, 2))
        found["enableDefaultDeny"] = {way: random.random() < 0.3 for way in ways}
    return found


def _entry(random: Random, head: str) -> Json:
    found: Json = {}
    match random.randrange(6):
        case 0 | 1:
            count = random.choice([0, 1, 1, 1, 2])
            found[head + "Endpoints"] = [_selector(random) for _ in range(count)]
        case 2:
            found[head + "Entities"] = random.sample(ENTITIES, random.randint(1, 2))
        case 3:
            found[head + "CIDR"] = random.sample(PREFIXES, random.randint(1, 3))
        case 4:
            found[head + "CIDRSet"] = [_block(random) for _ in range(random.randint(1, 2))]
    match random.randrange(5):
        case 0 | 1:
            ports = [_port(random) for _ in range(random.randint(1, 3))]
            found["toPorts"] = [{"ports": ports}]
        case 2:
            family, kind = random.choice([("IPv4", 8), ("IPv6", 128), ("IPv4", 0)])
            found["icmps"] = [{"fields": [{"family": family, "type": kind}]}]
    return found


def _selector(random: Random) -> Json:
    found: Json = {}
    if random.random() < 0.6:
        keys = random.sample(["pod", "role", SPACE, TEAM], random.choice([1, 1, 2]))
        found["matchLabels"] = {key: random.choice(VALUES[key]) for key in keys}
    if random.random() < 0.4:
        found["matchExpressions"] = [_expression(random, list(VALUES))]
    return found


def _expression(random: Random, keys: list[str]) -> Json:
    key = random.choice(keys)
    operator = random.choice(["In", "NotIn", "Exists", "DoesNotExist"])
    if operator in ("Exists", "DoesNotExist"):
        return {"key": key, "operator": operator}
    values = random.sample(VALUES[key], random.randint(1, len(VALUES[key])))
    return {"key": key, "operator": operator, "values": values}


def _block(random: Random) -> Json:
    cidr = random.choice(PREFIXES)
    if cidr in HOLES and random.random() < 0.7:
        return {"cidr": cidr, "except": random.sample(HOLES[cidr], 1)}
    return {"cidr": cidr}


def _port(random: Random) -> Json:
    found: Json = {"protocol": random.choice(["TCP", "TCP", "UDP", "UDP", "ANY", "SCTP"])}
    if random.random() < 0.25:
        return found | {"port": random.choice(NAMES)}
    first = random.choice([0, 1, 64, 79, 80, 80, 81, 81, 82, 6443])
    if first and random.random() < 0.4:
        found["endPort"] = random.choice([80, 81, 82, 127, 65535])
    return found | {"port": str(first)}


def _plain(random: Random, name: str) -> Json:
    spec: Json = {"podSelector": _labels(random, ["pod", "role"])}
    ways = random.sample(["ingress", "egress"], random.randint(1, 2))
    if random.random() < 0.7:
        spec["policyTypes"] = [way.capitalize() for way in ways]
    for way in ways:
        head = "from" if way == "ingress" else "to"
        spec[way] = [_plain_rule(random, head) for _ in range(random.randint(0, 2))]
    metadata = {"name": name, "namespace": random.choice("xyz")}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def _labels(random: Random, keys: list[str]) -> Json:
    found: Json = {}
    if random.random() < 0.7:
        key = random.choice(keys)
        found["matchLabels"] = {key: random.choice(VALUES.get(key, VALUES[TEAM]))}
    return found


def _plain_rule(random: Random, head: str) -> Json:
    found: Json = {}
    if random.random() < 0.8:
        found[head] = [_plain_peer(random) for _ in range(random.randint(1, 2))]
    if random.random() < 0.5:
        found["ports"] = [_plain_port(random) for _ in range(random.randint(1, 2))]
    return found


def _plain_peer(random: Random) -> Json:
    match random.randrange(4):
        case 0:
            return {"ipBlock": _block(random)}
        case 1:
            return {"podSelector": _labels(random, ["pod", "role"])}
        case 2:
            return {"namespaceSelector": _labels(random, ["team"])}
    spaces, pods = _labels(random, ["team"]), _labels(random, ["pod", "role"])
    return {"namespaceSelector": spaces, "podSelector": pods}


def _plain_port(random: Random) -> Json:
    protocol = random.choice(["TCP", "UDP"])
    match random.randrange(4):
        case 0:
            return {"protocol": protocol}
        case 1:
            return {"protocol": protocol, "port": random.choice(NAMES)}
        case 2:
            return {"protocol": protocol, "port": random.choice([1, 80]), "endPort": 81}
    return {"protocol": protocol, "port": random.choice([80, 81, 82])}
