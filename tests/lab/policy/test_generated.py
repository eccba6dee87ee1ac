"""Policies by chance: what sockets find is what the specification's oracle says.

`CILIA_POLICY_ROUNDS` sets how many rounds there are; each is a seed, so that a round
which failed can be had again.
"""

import os
from random import Random
from typing import Any

import pytest
import yaml

from lab.policy.cluster import ACCOUNTS, API, POD_PORTS, PODS, ROLES, WEB, Cluster
from lab.policy.generator import policies
from lab.policy.truth import PING, Flow
from unit.policy import oracle

Json = dict[str, Any]

LONG = bool(os.environ.get("CILIA_LONG_TESTS"))
ROUNDS = int(os.environ.get("CILIA_POLICY_ROUNDS") or (400 if LONG else 12))
STEPS = max(10, ROUNDS)


def _pod(space: str, name: str, role: str) -> oracle.Party:
    of_namespace = {"team": space, "kubernetes.io/metadata.name": space}
    labels = {
        "pod": name,
        "role": role,
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


class Situation:
    """Policies and labels as they are, and what the specification says of them."""

    def __init__(self, cluster: Cluster, written: list[Json]) -> None:
        self.written = {f"{each['kind']} {each['metadata']}": each for each in written}
        self.roles = {pod: ROLES[pod.split("/")[1]] for pod in PODS}
        self._cluster = cluster

    def check(self) -> None:
        """Probes everything; a failure shows the policies."""
        expected = {flow: self._passes(flow) for flow in self._cluster.everything}
        try:
            self._cluster.check_exactly(expected)
        except AssertionError as error:
            error.add_note(f"{self.roles}\n{yaml.safe_dump_all(self.written.values())}")
            raise

    def _passes(self, flow: Flow) -> bool:
        """Both ends that are pods must agree."""
        protocol, port = flow.protocol, flow.port
        if protocol == PING:
            protocol, port = ("ICMP", 8) if flow.family == 4 else ("ICMPv6", 128)
        ends = (("egress", flow.source, flow.target), ("ingress", flow.target, flow.source))
        policies = list(self.written.values())
        for direction, subject, peer in ends:
            if subject in PODS:
                node = self._cluster.node_of[subject]
                own, other = (self._party(place, flow, node) for place in (subject, peer))
                verdict = oracle.decide(
                    policies, oracle.Cluster(), own, direction, other, protocol, port
                )
                if verdict != "allow":
                    return False
        return True

    def _party(self, place: str, flow: Flow, seen_from: str) -> oracle.Party:
        """Who somebody is to a pod of a node."""
        kind, _, name = place.partition("/")
        if kind in ("world", "api"):
            # The API server is outside of the cluster here: of the world, and its own entity.
            keys = [f"world-ipv{flow.family}"] + ["kube-apiserver"] * (place == API)
            labels = tuple(("reserved", key, "") for key in keys)
            return oracle.Party(labels, self._cluster.places[place].address(flow.family))
        if kind == "host":
            key = "host" if name == seen_from else "remote-node"
            return oracle.Party((("reserved", key, ""),))
        return _pod(kind, name, self.roles[place])


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_sockets_and_oracle_agree(cluster: Cluster, seed: int) -> None:
    written = policies(Random(seed))
    with cluster.policies(yaml.safe_dump_all(written)):
        Situation(cluster, written).check()


@pytest.mark.parametrize("seed", range(STEPS // 10))
def test_sockets_and_oracle_agree_after_each_change(cluster: Cluster, seed: int) -> None:
    random, now = Random(seed), Situation(cluster, [])
    try:
        for _ in range(10):
            change(cluster, now, random)
            now.check()
    finally:
        for pod in PODS:
            relabel(cluster, now, pod, ROLES[pod.split("/")[1]])
        for document in now.written.values():
            cluster.delete(document)
        cluster.wait_gone(now.written.values())


def change(cluster: Cluster, now: Situation, random: Random) -> None:
    """A pod gets another role, or a policy comes, changes or goes."""
    what = random.randrange(5)
    if what == 0:
        relabel(cluster, now, random.choice(PODS), random.choice(list(ROLES.values())))
    elif what == 1 and now.written:
        gone = now.written.pop(random.choice(list(now.written)))
        cluster.delete(gone)
        cluster.wait_gone([gone])
    else:
        document = policies(random)[0]
        key = f"{document['kind']} {document['metadata']}"
        put = cluster.replace if key in now.written else cluster.create
        now.written[key] = document
        cluster.wait_in_force([put(document)])


def relabel(cluster: Cluster, now: Situation, pod: str, role: str) -> None:
    """Gives a pod a role."""
    if now.roles[pod] != role:
        now.roles[pod] = role
        cluster.label("Pod", pod, {"role": role})
        cluster.wait_labelled([pod], f"k8s:role={role}")
