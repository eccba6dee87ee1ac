"""The specification, said again as simply as possible: what a packet's fate is.

Works on policy objects as written, knows nothing of the engine, and is slow. Each
function is one sentence of the language's documentation.

Source: https://docs.cilium.io/en/stable/security/policy/language/,
https://docs.cilium.io/en/stable/network/kubernetes/policy/ and
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import ipaddress
from dataclasses import dataclass, field, replace
from functools import lru_cache

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
CLUSTER = "io.cilium.k8s.policy.cluster"
OWN_CLUSTER = "default"
_address = lru_cache(ipaddress.ip_address)
_network = lru_cache(lambda cidr: ipaddress.ip_network(cidr, strict=False))
NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}


@dataclass(frozen=True)
class Party:
    """Someone who sends or receives: a pod, a node, or an address outside."""

    labels: tuple[tuple[str, str, str], ...]
    """(source, key, value)"""
    address: str = ""
    """Only of what cilia does not manage."""
    inner: str = ""
    """Of a pod or a node, which CIDR rules see by choice only."""
    ports: tuple[tuple[str, str, int], ...] = ()
    """(name, protocol, port)"""


@dataclass
class Cluster:
    """What policies refer to besides labels."""

    groups: dict[str, tuple[dict[str, str], list[str]]] = field(default_factory=dict)
    """name -> labels, prefixes"""
    services: list[dict] = field(default_factory=list)
    """namespace, name, labels, selector, addresses"""
    mode: str = "default"
    cidr_matches: frozenset[str] = frozenset()
    """policy-cidr-match-mode: nodes, pods"""


def decide(policies, cluster, subject, direction, peer, protocol, port):
    """allow, deny or default-deny.

    Args:
        policies: Objects, all valid.
        subject: The pod whose policy it is.
        direction: ingress or egress, seen from it.
        protocol: TCP, UDP, SCTP, ICMP or ICMPv6.
        port: Destination port, or ICMP type.
    """
    peer = seen_by_cidrs(peer, cluster)
    is_init = ("reserved", "init", "") in subject.labels
    mode = "always" if is_init else cluster.mode
    if mode == "never":
        return "allow"
    rules = [rule for policy in policies for rule in rules_of(policy) if selects(rule, subject)]
    denied = allowed = False
    for rule in rules:
        for entry in rule[direction + "Deny"]:
            denied = denied or concerns(entry, rule, cluster, subject, peer, protocol, port)
        for entry in rule[direction]:
            allowed = allowed or concerns(entry, rule, cluster, subject, peer, protocol, port)
    if denied:
        return "deny"
    if allowed:
        return "allow"
    closed = mode == "always" or any(rule["closes"][direction] for rule in rules)
    return "default-deny" if closed else "allow"


def seen_by_cidrs(peer, cluster):
    """By default CIDR rules match no pod and no node; by choice each by its address."""
    reserved = {key for source, key, _ in peer.labels if source == "reserved"}
    is_node = bool(reserved & {"host", "remote-node"})
    is_pod = bool(value(peer, "k8s", NAMESPACE))
    chosen = (is_node and "nodes" in cluster.cidr_matches) or (
        is_pod and "pods" in cluster.cidr_matches
    )
    return replace(peer, address=peer.inner) if chosen and peer.inner else peer


def rules_of(policy):
    """The rules of an object, with kind and namespace noted and all four lists there."""
    kind = policy["kind"]
    namespace = (
        "" if kind.startswith("CiliumCluster") else policy["metadata"].get("namespace", "default")
    )
    if kind == "NetworkPolicy":
        return [kubernetes_rule(policy["spec"], namespace)]
    specs = ([policy["spec"]] if "spec" in policy else []) + policy.get("specs", [])
    rules = []
    for spec in specs:
        rule = {n: spec.get(n) or [] for n in ("ingress", "ingressDeny", "egress", "egressDeny")}
        deny = spec.get("enableDefaultDeny", {})
        rule["closes"] = {
            d: deny.get(d, bool(rule[d] or rule[d + "Deny"])) for d in ("ingress", "egress")
        }
        rule |= {"subject": spec["endpointSelector"], "namespace": namespace, "kind": "cilium"}
        rules.append(rule)
    return rules


def kubernetes_rule(spec, namespace):
    types = spec.get("policyTypes") or ["Ingress"] + (["Egress"] if spec.get("egress") else [])
    return {
        "ingress": spec.get("ingress") or [] if "Ingress" in types else [],
        "egress": spec.get("egress") or [] if "Egress" in types else [],
        "ingressDeny": [],
        "egressDeny": [],
        "closes": {"ingress": "Ingress" in types, "egress": "Egress" in types},
        "subject": spec.get("podSelector", {}),
        "namespace": namespace,
        "kind": "kubernetes",
    }


def selects(rule, party):
    """The subject selector, within the policy's own namespace: a label cannot name another."""
    if not rule["namespace"]:
        return matches(rule["subject"], party)
    labels = {**rule["subject"].get("matchLabels", {})}
    if rule["kind"] == "cilium":
        labels.pop(f"k8s:{NAMESPACE}", None)
    own = value(party, "k8s", NAMESPACE) == {rule["namespace"]}
    return own and matches({**rule["subject"], "matchLabels": labels}, party)


def concerns(entry, rule, cluster, subject, peer, protocol, port):
    """An entry is peer AND (port OR icmp)."""
    if rule["kind"] == "kubernetes":
        return kubernetes_concerns(entry, rule, subject, peer, protocol, port)
    keys = [k for k in entry if k.startswith(("from", "to")) and k != "toPorts"]
    ports = entry.get("toPorts") or []
    icmps = entry.get("icmps") or []
    if not keys and not ports and not icmps:
        return False
    if keys and not any(has_peer(k, entry[k], rule, cluster, peer) for k in keys):
        return False
    if not ports and not icmps:
        return True
    listed = [p for item in ports for p in item["ports"]]
    owner = subject if is_ingress(entry, rule) else peer
    return any(port_matches(p, owner, protocol, port) for p in listed) or any(
        icmp_matches(f, protocol, port) for item in icmps for f in item["fields"]
    )


def is_ingress(entry, rule):
    return any(entry is e for e in rule["ingress"] + rule["ingressDeny"])


def has_peer(key, listed, rule, cluster, peer):
    """The peers of one list are its items' union."""
    kind = key.removeprefix("from").removeprefix("to")
    if kind == "Endpoints":
        return any(endpoint_matches(s, rule, peer) for s in listed)
    if kind == "Entities":
        return any(entity_matches(e, peer) for e in listed)
    if kind == "CIDR":
        return any(inside(peer, cidr) for cidr in listed)
    if kind == "CIDRSet":
        return any(cidr_rule_matches(item, cluster, peer) for item in listed)
    if kind == "Nodes":
        return any(node_matches(s, peer) for s in listed)
    if kind == "Services":
        return any(service_matches(item, cluster, peer) for item in listed)
    raise AssertionError(key)


def endpoint_matches(selector, rule, peer):
    keys = [*selector.get("matchLabels", {})]
    keys += [e["key"] for e in selector.get("matchExpressions", [])]
    if any(k.startswith("reserved:") for k in keys):
        return matches(selector, peer)
    bare = [k.removeprefix("k8s:").removeprefix("any:") for k in keys]
    if not any(k == NAMESPACE or k.startswith(NAMESPACE_LABELS) for k in bare):
        found = value(peer, "k8s", NAMESPACE)
        if rule["namespace"]:
            if found != {rule["namespace"]}:
                return False
        elif not found and "reserved:init" not in rule["subject"].get("matchLabels", {}):
            return False
    if CLUSTER not in bare and value(peer, "k8s", CLUSTER) != {OWN_CLUSTER}:
        return False
    return matches(selector, peer)


def entity_matches(entity, peer):
    reserved = {key for source, key, _ in peer.labels if source == "reserved"}
    if entity == "all":
        return True
    if entity == "world":
        return bool(reserved & {"world", "world-ipv4", "world-ipv6"})
    if entity == "cluster":
        inner = {"host", "remote-node", "init", "ingress", "health", "unmanaged"}
        inner |= {"kube-apiserver"}
        return bool(reserved & inner) or value(peer, "k8s", CLUSTER) == {OWN_CLUSTER}
    return entity in reserved


def cidr_rule_matches(item, cluster, peer):
    if any(inside(peer, hole) for hole in item.get("except", [])):
        return False
    if "cidr" in item:
        return inside(peer, item["cidr"])
    if "cidrGroupRef" in item:
        chosen = [cluster.groups.get(item["cidrGroupRef"], ({}, []))]
    else:
        chosen = [
            (labels, prefixes)
            for labels, prefixes in cluster.groups.values()
            if matches(item["cidrGroupSelector"], labelled(labels))
        ]
    return any(inside(peer, cidr) for _, prefixes in chosen for cidr in prefixes)


def node_matches(selector, peer):
    """Other nodes of this cluster, by labels of their objects; the local node is the host."""
    if ("reserved", "remote-node", "") not in peer.labels:
        return False
    keys = [*selector.get("matchLabels", {})]
    keys += [e["key"] for e in selector.get("matchExpressions", [])]
    bare = [k.removeprefix("k8s:").removeprefix("any:") for k in keys]
    if CLUSTER not in bare and value(peer, "k8s", CLUSTER) != {OWN_CLUSTER}:
        return False
    own = replace(peer, labels=tuple(("any", k, v) for s, k, v in peer.labels if s == "node"))
    return matches(selector, own)


def service_matches(item, cluster, peer):
    for service in cluster.services:
        wanted = item.get("k8sService") or item["k8sServiceSelector"]
        if wanted.get("namespace", "") not in ("", service["namespace"]):
            continue
        if "k8sService" in item:
            if wanted["serviceName"] != service["name"]:
                continue
        elif not matches(wanted["selector"], labelled(service["labels"])):
            continue
        if not service["selector"]:
            if any(inside(peer, address) for address in service["addresses"]):
                return True
        elif value(peer, "k8s", NAMESPACE) == {service["namespace"]} and all(
            value(peer, "k8s", k) == {v} for k, v in service["selector"].items()
        ):
            return True
    return False


def labelled(labels):
    return Party(tuple(("k8s", k, v) for k, v in labels.items()))


def inside(peer, cidr):
    """CIDR rules match only what cilia does not manage."""
    if not peer.address:
        return False
    network = _network(cidr)
    address = _address(peer.address)
    return address.version == network.version and address in network


def port_matches(written, owner, protocol, port):
    names = written.get("protocol", "ANY").upper()
    names = ("TCP", "UDP", "SCTP") if names == "ANY" else (names,)
    if protocol not in names:
        return False
    text = written["port"]
    if not text.isdigit():
        return (text.lower(), protocol, port) in owner.ports
    first, last = int(text), written.get("endPort", 0)
    if first == 0 and not last:
        return True
    return first <= port <= max(first, last)


def icmp_matches(written, protocol, port):
    wanted = "ICMPv6" if written.get("family") == "IPv6" else "ICMP"
    return protocol == wanted and written["type"] == port


def kubernetes_concerns(entry, rule, subject, peer, protocol, port):
    peers = entry.get("from") or entry.get("to") or []
    if peers and not any(kubernetes_peer(item, rule, peer) for item in peers):
        return False
    ports = entry.get("ports") or []
    owner = subject if is_ingress(entry, rule) else peer
    return not ports or any(kubernetes_port(p, owner, protocol, port) for p in ports)


def kubernetes_peer(item, rule, peer):
    if "ipBlock" in item:
        block = item["ipBlock"]
        return inside(peer, block["cidr"]) and not any(
            inside(peer, hole) for hole in block.get("except", [])
        )
    namespace = value(peer, "k8s", NAMESPACE)
    if not namespace or value(peer, "k8s", CLUSTER) != {OWN_CLUSTER}:
        return False
    if "namespaceSelector" in item:
        of_namespace = {
            key.removeprefix(NAMESPACE_LABELS): text
            for source, key, text in peer.labels
            if source == "k8s" and key.startswith(NAMESPACE_LABELS)
        }
        if not matches(item["namespaceSelector"], labelled(of_namespace)):
            return False
    elif namespace != {rule["namespace"]}:
        return False
    return matches(item.get("podSelector", {}), peer)


def kubernetes_port(written, owner, protocol, port):
    if protocol != written.get("protocol", "TCP"):
        return False
    if "port" not in written:
        return True
    if isinstance(written["port"], str):
        return (written["port"], protocol, port) in owner.ports
    return written["port"] <= port <= written.get("endPort", written["port"])


def matches(selector, party):
    """Every label and every expression must hold."""
    for key, text in selector.get("matchLabels", {}).items():
        if text not in found(party, key):
            return False
    for expression in selector.get("matchExpressions", []):
        values = found(party, expression["key"])
        wanted = set(expression.get("values", []))
        holds = {
            "In": bool(values & wanted),
            "NotIn": not values & wanted,
            "Exists": bool(values),
            "DoesNotExist": not values,
        }[expression["operator"]]
        if not holds:
            return False
    return True


def found(party, key):
    source, colon, bare = key.partition(":")
    if not colon:
        source, bare = "any", key
    return value(party, source, bare)


def value(party, source, key):
    return {text for s, k, text in party.labels if k == key and source in (s, "any")}
