"""Policies by chance: what sockets find is what the specification's oracle says.

`CILIA_POLICY_ROUNDS` sets how many rounds there are; each is a seed, so that a round
which failed can be had again.
"""

import os
from random import Random
from typing import Any

import pytest
import yaml

from lab.policy.cluster import ACCOUNTS, POD_PORTS, PODS, ROLES, WEB, Cluster
from lab.policy.generator import policies
from lab.policy.truth import PING, Flow
from unit.policy import oracle

Json = dict[str, Any]

LONG = bool(os.environ.get("CILIA_LONG_TESTS"))
ROUNDS = int(os.environ.get("CILIA_POLICY_ROUNDS") or (400 if LONG else 15))


def party(place: str, flow: Flow, cluster: Cluster, seen_from: str) -> oracle.Party:
    """Who somebody is to a pod of a node."""
    kind, _, name = place.partition("/")
    if kind == "world":
        label = ("reserved", f"world-ipv{flow.family}", "")
        return oracle.Party((label,), cluster.places[place].address(flow.family))
    if kind == "host":
        key = "host" if name == seen_from else "remote-node"
        return oracle.Party((("reserved", key, ""),))
    return _pod(kind, name)


def _pod(space: str, name: str) -> oracle.Party:
    of_namespace = {"team": space, "kubernetes.io/metadata.name": space}
    labels = {
        "pod": name,
        "role": ROLES[name],
        oracle.NAMESPACE: space,
        oracle.CLUSTER: "default",
        "io.cilium.k8s.policy.serviceaccount": ACCOUNTS[name],
        **{oracle.NAMESPACE_LABELS + key: value for key, value in of_namespace.items()},
    }
    ports = [
        (f"serve-{port}-{protocol.lower()}", protocol, port)
        for port in POD_PORTS
        for protocol in ("TCP", "UDP")
    ]
    named = (*ports, ("web", "TCP", WEB[name]))
    return oracle.Party(tuple(("k8s", *each) for each in sorted(labels.items())), ports=named)


def passes(cluster: Cluster, written: list[Json], flow: Flow) -> bool:
    """What the specification says of a flow: both ends that are pods must agree."""
    protocol, port = flow.protocol, flow.port
    if protocol == PING:
        protocol, port = ("ICMP", 8) if flow.family == 4 else ("ICMPv6", 128)
    ends = (("egress", flow.source, flow.target), ("ingress", flow.target, flow.source))
    for direction, subject, peer in ends:
        if subject in PODS:
            node = cluster.node_of[subject]
            own, other = (party(place, flow, cluster, node) for place in (subject, peer))
            found = oracle.decide(written, oracle.Cluster(), own, direction, other, protocol, port)
            if found != "allow":
                return False
    return True


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_sockets_and_oracle_agree(cluster: Cluster, seed: int) -> None:
    written = policies(Random(seed))
    text = yaml.safe_dump_all(written)
    with cluster.policies(text):
        expected = {flow: passes(cluster, written, flow) for flow in cluster.everything}
        try:
            cluster.check_exactly(expected)
        except AssertionError as error:
            error.add_note(text)
            raise
