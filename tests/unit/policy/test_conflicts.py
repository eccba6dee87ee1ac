"""Conflicts among rules, against sets of (subject, peer, port) written out one by one."""

import ipaddress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.model.rules import Peers
from cilia.policy import conflicts as module
from cilia.policy import extents
from cilia.policy.conflicts import find_conflicts
from cilia.policy.extents import Population
from cilia.policy.resolution import World, groups_by_name
from cilia.policy.sources import parse_policy

from .oracle import concerns, rules_of, selects
from .universe import (
    GROUPS,
    PODS,
    PREFIXES,
    SERVICE_LISTS,
    cluster_of,
    engine_groups,
    engine_services,
    labels_of,
    outside,
    pod,
    policies,
    ports_of,
    reserved,
)

HOST, REMOTE_NODE = 1, 6
PORT_CUTS = (0, 1, 8, 10, 64, 79, 80, 443, 8080, 65535)
PORTS = sorted({port + more for port in PORT_CUTS for more in (0, 1)} - {65536})
WHERE = [
    *(("TCP", port) for port in PORTS),
    *(("UDP", port) for port in PORTS),
    *(("SCTP", port) for port in (0, 80, 443)),
    *(("ICMP", kind) for kind in (0, 1, 8)),
    *(("ICMPv6", kind) for kind in (0, 1, 8)),
    ("other", 0),
]
NAMES = ("ingress", "ingressDeny", "egress", "egressDeny")


def addresses():
    """One address of every span that the universe's prefixes cut the address space into."""
    found = set()
    for network in map(ipaddress.ip_network, (*PREFIXES, "fd00::1/128")):
        found.add(network.network_address)
        if int(network.broadcast_address) + 1 < 1 << network.max_prefixlen:
            found.add(network.broadcast_address + 1)
    return sorted(map(str, found))


OUTSIDE = [*map(outside, addresses())]


def party_of(party):
    return extents.Party(labels_of(party), ports_of(party))


def population(pods, groups=None, services=()):
    named = {}
    for name, protocol, port in (port for party in pods for port in ports_of(party)):
        named.setdefault(name, set()).add((protocol, port))
    world = World(
        groups_by_name(engine_groups(groups or {})),
        {(s.namespace, s.name): s for s in engine_services(services)},
        named,
    )
    others = [reserved(HOST), reserved(REMOTE_NODE)]
    return Population([party_of(p) for p in pods], [party_of(p) for p in (*pods, *others)], world)


def expected(found, pods, groups, services):
    """(kind, policy, path, those to blame) of every conflict, from sets."""
    cluster = cluster_of(groups, services)
    peers = [*pods, reserved(HOST), reserved(REMOTE_NODE), *OUTSIDE]
    sets = []
    for policy in found:
        parsed = parse_policy(policy)
        for rule, spec in zip(rules_of(policy), parsed.specs, strict=True):
            closing = {entry.path for entry in spec.entries if entry.peers == Peers()}
            for name in NAMES:
                for index, entry in enumerate(rule[name]):
                    path = f"{spec.path}.{name}[{index}]"
                    if path not in closing:
                        extent = {
                            (number, place, where)
                            for number, subject in enumerate(pods)
                            if selects(rule, subject)
                            for place, peer in enumerate(peers)
                            for where in WHERE
                            if concerns(entry, rule, cluster, subject, peer, *where)
                        }
                        sets.append(((parsed.key.name, path), name, extent))
    result = set()
    for place, (rule, name, extent) in enumerate(sets):
        if not extent:
            result.add(("dead", rule, frozenset()))
            continue
        same = [(p, r, e) for p, (r, n, e) in enumerate(sets) if n == name and p != place]
        equal = [r for p, r, e in same if e == extent and p < place]
        wider = [r for _, r, e in same if e > extent]
        if equal:
            result.add(("duplicate", rule, frozenset(equal[:1])))
        elif wider:
            result.add(("redundant", rule, None))
        if not name.endswith("Deny"):
            denies = [(r, e) for r, n, e in sets if n == f"{name}Deny" and e & extent]
            if denies:
                all_ = set().union(*(e for _, e in denies)) >= extent
                blamed = frozenset(r for r, _ in denies)
                result.add(("shadowed" if all_ else "overlapping", rule, blamed))
    return result


def told(conflicts):
    """Conflicts as the oracle writes them."""
    return {
        (
            str(each.kind),
            (each.rule.policy.name, each.rule.path),
            None
            if each.kind == "redundant"
            else frozenset((other.policy.name, other.path) for other in each.others),
        )
        for each in conflicts.found
    }


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pods=st.lists(PODS, min_size=1, max_size=2),
    found=st.lists(policies(), min_size=1, max_size=3),
    groups=GROUPS,
    services=SERVICE_LISTS,
)
def test_conflicts_are_those_of_the_sets(pods, found, groups, services):
    for index, policy in enumerate(found):
        policy["metadata"]["name"] = f"p{index}"
    found.sort(key=lambda policy: parse_policy(policy).key)
    answer = find_conflicts(map(parse_policy, found), population(pods, groups, services))
    assert answer.complete
    assert told(answer) == expected(found, pods, groups, services)


def conflicts(**spec):
    document = {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "red"},
        "spec": {"endpointSelector": {"matchLabels": {"app": "web"}}, **spec},
    }
    pods = [pod("red", {"app": "web"}), pod("red", {"app": "db"})]
    found = find_conflicts([parse_policy(document)], population(pods)).found
    return [(str(each.kind), each.rule.path, each.detail) for each in found]


DB = {"fromEndpoints": [{"matchLabels": {"app": "db"}}]}
TCP = [{"ports": [{"port": "80", "protocol": "TCP"}]}]


def test_two_denies_together_shadow_an_allow():
    halves = [{"fromCIDR": ["0.0.0.0/1"]}, {"fromCIDR": ["128.0.0.0/1"]}]
    (found,) = conflicts(ingress=[{"fromCIDR": ["0.0.0.0/0"]}], ingressDeny=halves)
    assert found == ("shadowed", "spec.ingress[0]", "everything that it allows is denied")


def test_the_world_that_is_denied_shadows_an_address_that_is_allowed():
    denied = [{"toEntities": ["world"]}]
    found = conflicts(egress=[{"toCIDR": ["192.0.2.1/32"]}], egressDeny=denied)
    assert [each[0] for each in found] == ["shadowed"]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"fromEndpoints": [{"matchLabels": {"app": "none"}}]}, "no peer is selected"),
        ({"toPorts": [{"ports": [{"port": "http"}]}]}, "no pod has a port of that name"),
    ],
)
def test_a_dead_rule_says_why(entry, why):
    assert conflicts(ingress=[entry]) == [("dead", "spec.ingress[0]", why)]


def test_a_subject_that_is_nobody():
    found = conflicts(endpointSelector={"matchLabels": {"app": "gone"}}, ingress=[DB])
    assert found == [("dead", "spec.ingress[0]", "no endpoint is selected")]


def test_the_way_to_close_a_direction_is_no_conflict():
    assert conflicts(ingress=[{}], egress=[{}]) == []


def test_a_rule_within_another_and_one_said_twice():
    found = conflicts(ingress=[DB, DB, {**DB, "toPorts": TCP}])
    assert [each[:2] for each in found] == [
        ("duplicate", "spec.ingress[1]"),
        ("redundant", "spec.ingress[2]"),
    ]


def test_too_many_pairs_are_said_to_be_too_many(monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 1)
    document = {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "red"},
        "spec": {"endpointSelector": {}, "ingress": [DB, DB, DB]},
    }
    found = find_conflicts([parse_policy(document)], population([pod("red", {"app": "db"})]))
    assert not found.complete
