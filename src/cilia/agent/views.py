"""Tables as the REST API's JSON. Names are contracts: see docs/reference."""

import hashlib
import ipaddress
from collections.abc import Iterable
from typing import Any

import msgspec

from cilia.agent.endpoint_config import config_json
from cilia.agent.parts import Parts
from cilia.agent.rule_places import rule_place
from cilia.model.identities import ReservedIdentity, prefix_labels
from cilia.model.labels import LabelSet
from cilia.model.prefixes import prefix_of_key
from cilia.policy.provenance import ProvenanceRule
from cilia.runtime.table import Table
from cilia.service.sync import PROTOCOLS
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.nodes import Node
from cilia.state.policies import PolicyObject

Json = dict[str, Any]
PLACE = "cilia.io/written-in"
"""The annotation that tells a file's policy from an object of the same name."""


def endpoint_json(parts: Parts, row: EndpointRow) -> Json:
    """Returns the model Endpoint."""
    revision = realized_revision(parts, row)
    enabled = policy_enabled(row)
    identity = identity_json(row.identity, row.labels) if row.identity is not None else None
    policy = {"id": row.identity or 0, "policy-revision": revision, "policy-enabled": enabled}
    last = next(iter(parts.endpoints.journal.of(row.id)), None)
    return {
        "id": row.id,
        "spec": {"label-configuration": {}, "options": {}},
        "status": {
            "external-identifiers": {
                "cni-attachment-id": f"{row.container}:eth0",
                "container-id": row.container,
                "k8s-namespace": row.namespace,
                "k8s-pod-name": row.pod,
                "pod-name": f"{row.namespace}/{row.pod}",
            },
            "workload": _workload(parts, row.namespace, row.pod),
            "identity": identity,
            "labels": {"security-relevant": list(row.labels), "realized": {}},
            "networking": {
                "addressing": [{k: v for k, v in (("ipv4", row.v4), ("ipv6", row.v6)) if v}],
                "host-mac": row.host_mac,
                "mac": row.mac,
                "interface-name": row.ifname,
                "interface-index": row.ifindex,
                "container-interface-name": "eth0",
            },
            "policy": {"realized": policy, "spec": {**policy, "policy-revision": _wanted(parts)}},
            "realized": config_json(row, node_audits=parts.settings.values.policy_audit_mode)[
                "realized"
            ],
            "log": [msgspec.to_builtins(last)] if last else [],
            "controllers": [],
            "state": str(row.state),
            "health": endpoint_health(row),
            "namedPorts": [
                {"name": port.name, "port": port.port, "protocol": port.protocol}
                for port in row.named_ports
            ],
        },
    }


def _workload(parts: Parts, namespace: str, name: str) -> str:
    """Returns `Kind/name` of what a pod of this or another node belongs to; empty: unknown."""
    key = (namespace, name)
    pod = parts.tables.pods.get(key) or parts.tables.remote_endpoints.get(key)
    return str(pod.workload) if pod and pod.workload else ""


def policy_enabled(row: EndpointRow) -> str:
    """Returns the word of EndpointPolicyEnabled.

    Source: the agent API's model of that name.
    """
    which = {
        (False, False): "none",
        (True, False): "ingress",
        (False, True): "egress",
        (True, True): "both",
    }[row.ingress_enforced, row.egress_enforced]
    return f"audit-{which}" if row.audit and which != "none" else which


def _wanted(parts: Parts) -> int:
    return parts.policy.engine.revision


def realized_revision(parts: Parts, row: EndpointRow) -> int:
    """Returns the policy revision that an endpoint enforces.

    A revision that changes nothing for an endpoint writes nothing; when the kernel is in
    step, the endpoint enforces it all the same.
    """
    policy = parts.policy
    in_step = not policy.sync.error and row.state is EndpointState.READY
    same = policy.sync.realized.get(row.id) == policy.engine.assigned.get(row.id)
    return policy.engine.revision if in_step and same else row.policy_revision


def endpoint_health(row: EndpointRow) -> Json:
    """Returns the model EndpointHealth."""
    word = "OK" if row.state is EndpointState.READY else "Bootstrap"
    return {"bpf": "OK", "policy": word, "connected": True, "overallHealth": word}


def identity_json(number: int, labels: LabelSet) -> Json:
    """Returns the model Identity."""
    digest = hashlib.sha256(";".join(labels).encode()).hexdigest()
    return {"id": number, "labels": list(labels), "labelsSHA256": digest}


def identities_json(parts: Parts) -> list[Json]:
    """Returns every identity that this node knows, those of rules' prefixes among them."""
    found = {row.number: row.labels for row in parts.tables.identities}
    for number, labels in rule_identities(parts):
        found.setdefault(number, labels)
    return [identity_json(number, found[number]) for number in sorted(found)]


def rule_identities(parts: Parts) -> Iterable[tuple[int, LabelSet]]:
    """Returns the identities of the prefixes that rules name."""
    dual_stack = parts.settings.values.dual_stack
    for rule in parts.kernel_ipcache.prefixes():
        prefix = prefix_of_key(bytes(rule["key"]))
        yield int(rule["identity"]), prefix_labels(prefix, dual_stack=dual_stack)


def identity_labels(parts: Parts) -> dict[int, list[str]]:
    """Returns the labels of every identity."""
    return {each["id"]: each["labels"] for each in identities_json(parts)}


def identity_endpoints_json(parts: Parts) -> list[Json]:
    """Returns the model IdentityEndpoints of each identity in use on this node."""
    counts: dict[int, int] = {}
    for row in parts.tables.endpoints:
        if row.identity is not None:
            counts[row.identity] = counts.get(row.identity, 0) + 1
    counts.setdefault(int(ReservedIdentity.HOST), 1)
    found = []
    for number in sorted(counts):
        row_ = parts.tables.identities.get(number)
        labels = row_.labels if row_ is not None else ()
        found.append({"identity": identity_json(number, labels), "refCount": counts[number]})
    return found


def policy_json(parts: Parts) -> Json:
    """Returns the model Policy: every object in force, as it was written."""
    held = [policy_document(row) for row in sorted(parts.tables.policies, key=lambda row: row.key)]
    text = msgspec.json.encode(held).decode()
    return {"revision": parts.policy.engine.revision, "policy": text}


def policy_document(row: PolicyObject) -> Json:
    """Returns an object as it was written; one of a file is annotated with its place."""
    found: Json = msgspec.json.decode(row.text)
    if row.source:
        metadata = found.setdefault("metadata", {})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), PLACE: row.uid}
    return found


def rule_json(rule: ProvenanceRule, policies: Table[PolicyObject]) -> Json:
    """Returns one rule behind a verdict, and where it is written."""
    return {
        "kind": rule.policy.kind,
        "namespace": rule.policy.namespace,
        "name": rule.policy.name,
        "path": rule.path,
        "rule": rule.index if rule.index >= 0 else None,
        "direction": rule.direction.name.lower(),
        "verdict": rule.verdict,
        "log": rule.log,
        "place": rule_place(policies, rule),
    }


def services_json(parts: Parts) -> list[Json]:
    """Returns the model Service of each frontend."""
    numbers = parts.kernel_services.numbers()
    found = []
    for row in parts.tables.frontends:
        placed = numbers.get((row.address, row.port, PROTOCOLS[row.protocol]))
        spec = {
            "id": placed.reverse if placed is not None else 0,
            "frontend-address": {
                "ip": row.address,
                "port": row.port,
                "protocol": row.protocol,
                "scope": "external",
            },
            "backend-addresses": [
                {
                    "ip": each.address,
                    "port": each.port,
                    "protocol": each.protocol,
                    "nodeName": each.node,
                    "zone": each.zone,
                    "state": each.state,
                    "preferred": True,
                }
                for each in row.backends
            ],
            "flags": {"type": row.type, "name": row.name, "namespace": row.namespace},
        }
        found.append({"spec": spec, "status": {"realized": spec}})
    return sorted(found, key=lambda each: int(each["spec"]["id"]))


def ips_json(parts: Parts) -> list[Json]:
    """Returns the model IPListEntry of each prefix."""
    found = [
        {
            "cidr": str(row.prefix),
            "identity": row.identity,
            "hostIP": row.node,
            "metadata": {
                "source": row.source,
                "namespace": row.namespace,
                "name": row.name,
                "workload": _workload(parts, row.namespace, row.name),
            },
        }
        for row in parts.tables.ipcache
    ]
    told = {each["cidr"] for each in found}
    for rule in parts.kernel_ipcache.prefixes():
        prefix = str(prefix_of_key(bytes(rule["key"])))
        if prefix not in told:
            source = {"source": "generated", "namespace": "", "name": ""}
            found.append(
                {
                    "cidr": prefix,
                    "identity": int(rule["identity"]),
                    "hostIP": "",
                    "metadata": source,
                }
            )
    return sorted(found, key=lambda each: _prefix_order(str(each["cidr"])))


def _prefix_order(text: str) -> tuple[int, int, int]:
    network = ipaddress.ip_network(text)
    return (network.version, int(network.network_address), network.prefixlen)


def nodes_json(parts: Parts) -> Json:
    """Returns the model ClusterNodeStatus."""
    cluster = parts.settings.values.cluster_name
    nodes = sorted(parts.tables.nodes, key=lambda node: node.name)
    return {
        "self": f"{cluster}/{parts.site.name}",
        "nodes-added": [node_json(node, cluster, parts.site.name) for node in nodes],
        "nodes-removed": [],
    }


def node_json(node: Node, cluster: str, own: str) -> Json:
    """Returns the model NodeElement."""
    primary = {}
    for version, family in ((4, "ipv4"), (6, "ipv6")):
        address = _first(node.addresses, version)
        network = _first(node.pod_cidrs, version)
        if address or network:
            primary[family] = {
                "enabled": True,
                "ip": address,
                "alloc-range": network,
                "address-type": "InternalIP",
            }
    return {
        "name": f"{cluster}/{node.name}",
        "primary-address": primary,
        "secondary-addresses": [
            {"enabled": True, "ip": ip, "address-type": "CiliumInternalIP"} for ip in node.internal
        ],
        "source": "local" if node.name == own else "custom-resource",
        "labels": dict(node.labels),
    }


def revisions_json(parts: Parts) -> dict[str, int]:
    """Returns the revision of each table that names come from: equal ones, equal rows.

    They begin anew with each `agent`, which no other has had.
    """
    tables = parts.tables
    return {
        "agent": parts.events.started_us,
        "endpoints": tables.endpoints.revision + tables.pods.revision,
        "ipcache": tables.ipcache.revision + tables.remote_endpoints.revision,
        "frontends": tables.frontends.revision,
        "nodes": tables.nodes.revision,
    }


def _first(texts: Iterable[str], version: int) -> str:
    return next((text for text in texts if (":" in text) == (version == 6)), "")
