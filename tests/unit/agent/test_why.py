"""`why`: hand-made questions with their answers, and changes that really turn them round."""

import msgspec
import pytest
from msgspec.structs import astuple

from cilia.model.errors import InvalidValue, NotFound
from cilia.model.rules import PolicyKey
from cilia.policy.contents import Enforcement
from cilia.policy.prefix_table import Worlds

from .why_world import World, cilium, labelled, tcp

RULE1 = "CiliumNetworkPolicy default/rule1"
DB, OUT = "NetworkPolicy red/db", "CiliumNetworkPolicy blue/out"
VAULT = "CiliumClusterwideNetworkPolicy vault"
OPEN = "ALLOWED: no policy closes the way"
IMPERIAL = "k8s:org=empire,k8s:class=probe"

CASES = [
    # from, to, port, protocol, how the answer begins, rules in the steps
    ("tiefighter", "deathstar-1", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("tiefighter", "default/deathstar-2", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("tiefighter", "deathstar-1", "http", "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("xwing", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}: closes ingress", ["spec"]),
    ("xwing", "deathstar", 8000, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("xwing", "deathstar", "main", "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("xwing", "deathstar", "", "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("tiefighter", "deathstar", 8000, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("tiefighter", "10.96.0.5", 8000, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("tiefighter", "deathstar-1", 443, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("tiefighter", "deathstar-1", 80, "UDP", f"DENIED by {RULE1}", ["spec"]),
    ("tiefighter", "deathstar-1", "", "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("deathstar-1", "deathstar-2", 80, "tcp", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("deathstar-1", "xwing", 80, "TCP", OPEN, []),
    ("xwing", "1.1.1.1", 443, "TCP", OPEN, []),
    ("1.1.1.1", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("2606:4700::1", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("world", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("1003", "1003", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("1001", "1003", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("10.0.1.1", "10.0.2.3", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("host", "deathstar-1", 80, "TCP", "ALLOWED", []),
    ("172.30.0.11", "deathstar-1", 80, "TCP", "ALLOWED", []),
    ("172.30.0.12", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("reserved:remote-node", "red/vault", 80, "TCP", f"ALLOWED by {VAULT}", ["spec.ingress[0]"]),
    (IMPERIAL, "deathstar-1", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("org=empire", "deathstar-1", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("org=empire,k8s:io.kubernetes.pod.namespace=blue", "deathstar-1", 80, "TCP",
     f"DENIED by {RULE1}", ["spec"]),
    ("xwing", "class=deathstar,org=empire", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("a=b", "c=d", 80, "TCP", OPEN, []),
    ("blue/web", "red/db", "sql", "TCP", f"ALLOWED by {OUT}, {DB}",
     ["spec.egress[0]", "spec.ingress[0]"]),
    ("blue/web", "red/db", 5433, "TCP", f"DENIED by {DB}: closes ingress",
     ["spec.egress[0]", "spec"]),
    ("red/backup", "red/db", 5432, "TCP", f"DENIED by {DB}", ["spec"]),
    ("blue/web", "red/backup", 80, "TCP", f"DENIED by {OUT}: closes egress", ["spec"]),
    ("blue/web", "198.51.100.1", 443, "TCP", f"ALLOWED by {OUT}", ["spec.egress[1]"]),
    ("blue/web", "198.51.100.1", 80, "TCP", f"DENIED by {OUT}", ["spec"]),
    ("blue/web", "198.51.100.66", 443, "TCP", f"DENIED by {OUT}: a deny rule",
     ["spec.egressDeny[0]"]),
    ("blue/web", "9.9.9.9", 8, "ICMP", f"ALLOWED by {OUT}", ["spec.egress[2]"]),
    ("blue/web", "9.9.9.9", 0, "ICMP", f"DENIED by {OUT}", ["spec"]),
    ("blue/web", "fd00::9", 128, "icmpv6", f"DENIED by {OUT}", ["spec"]),
    ("192.0.2.1", "red/db", 5432, "TCP", f"ALLOWED by {DB}", ["spec.ingress[1]"]),
    ("192.0.2.9", "red/db", 5432, "TCP", f"DENIED by {DB}", ["spec"]),
    ("red/db", "9.9.9.9", 53, "UDP", f"DENIED by {DB}: closes egress of red/db", ["spec"]),
    ("red/db", "red/backup", 1, "TCP", f"DENIED by {DB}: closes egress", ["spec"]),
    ("red/backup", "red/vault", 1, "TCP", f"DENIED by {VAULT}: a deny rule",
     ["spec.ingressDeny[0]"]),
    ("red/db", "red/vault", 1, "TCP", f"DENIED by {DB}", ["spec", "spec"]),
    ("red/backup", "{red/two}", 1, "TCP", f"DENIED by {DB}", ["spec"]),
    ("1.1.1.1", "9.9.9.9", 1, "TCP", "ALLOWED", []),
]  # fmt: skip


MORE = [
    # A deathstar, from everywhere and on every kind of port
    ("tiefighter", "deathstar-2", 8080, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("tiefighter", "deathstar-2", 80, "SCTP", f"DENIED by {RULE1}", ["spec"]),
    ("tiefighter", "deathstar-2", 8, "ICMP", f"DENIED by {RULE1}", ["spec"]),
    ("tiefighter", "deathstar-2", 0, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("tiefighter", "deathstar-2", 65535, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("1002", "1003", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("1002", "1003", 81, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("1002", "deathstar", 8000, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("10.0.1.2", "10.0.1.3", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("10.0.1.2", "10.96.0.5", 8000, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("red/backup", "deathstar", 8000, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("blue/web", "deathstar-1", 80, "TCP", f"DENIED by {OUT}: closes egress", ["spec", "spec"]),
    ("red/db", "deathstar-1", 80, "TCP", f"DENIED by {DB}: closes egress", ["spec", "spec"]),
    ("deathstar-2", "deathstar-1", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("deathstar-1", "deathstar-1", 81, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("deathstar-1", "10.96.0.5", 8000, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("deathstar-1", "9.9.9.9", 53, "UDP", OPEN, []),
    ("deathstar-1", "host", 53, "UDP", OPEN, []),
    ("192.0.2.1", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("10.0.0.0/8", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("kube-apiserver", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("health", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("world-ipv6", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("reserved:host", "deathstar-1", 443, "TCP", "ALLOWED", []),
    ("1", "deathstar-1", 443, "TCP", "ALLOWED", []),
    ("6", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("any:org=empire", "deathstar-1", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("container:org=empire", "deathstar-1", 80, "TCP", f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    ("org=rebels", "deathstar-1", 80, "TCP", f"DENIED by {RULE1}", ["spec"]),
    ("xwing", "org=empire", 80, "TCP", OPEN, []),
    ("org=empire,class=deathstar", "org=empire,class=deathstar", 80, "TCP",
     f"ALLOWED by {RULE1}", ["spec.ingress[0]"]),
    # The database: closed both ways, two rules in
    ("blue/web", "red/db", 5432, "TCP", f"ALLOWED by {OUT}, {DB}",
     ["spec.egress[0]", "spec.ingress[0]"]),
    ("blue/web", "red/db", 5432, "UDP", f"DENIED by {DB}", ["spec.egress[0]", "spec"]),
    ("blue/web", "10.0.2.6", 5432, "TCP", f"ALLOWED by {OUT}, {DB}",
     ["spec.egress[0]", "spec.ingress[0]"]),
    ("blue/web", "1006", "sql", "TCP", f"ALLOWED by {OUT}, {DB}",
     ["spec.egress[0]", "spec.ingress[0]"]),
    ("app=web,k8s:io.kubernetes.pod.namespace=blue", "red/db", 5432, "TCP",
     f"ALLOWED by {OUT}, {DB}", ["spec.egress[0]", "spec.ingress[0]"]),
    ("app=web,k8s:io.kubernetes.pod.namespace=red", "red/db", 5432, "TCP",
     f"DENIED by {DB}", ["spec"]),
    ("app=web", "red/db", 5432, "TCP", f"DENIED by {DB}", ["spec"]),
    ("192.0.2.0/25", "red/db", 22, "TCP", f"ALLOWED by {DB}", ["spec.ingress[1]"]),
    ("192.0.3.1", "red/db", 22, "TCP", f"DENIED by {DB}", ["spec"]),
    ("192.0.2.200", "red/db", 53, "UDP", f"ALLOWED by {DB}", ["spec.ingress[1]"]),
    ("remote-node", "red/db", 5432, "TCP", f"DENIED by {DB}", ["spec"]),
    ("red/db", "1.1.1.1", 443, "TCP", f"DENIED by {DB}: closes egress", ["spec"]),
    ("red/db", "host", 443, "TCP", f"DENIED by {DB}: closes egress", ["spec"]),
    ("red/db", "172.30.0.12", 443, "TCP", f"DENIED by {DB}: closes egress", ["spec"]),
    # What the web may reach outside
    ("blue/web", "198.51.100.0/25", 443, "TCP", f"ALLOWED by {OUT}", ["spec.egress[1]"]),
    ("blue/web", "198.51.101.1", 443, "TCP", f"DENIED by {OUT}", ["spec"]),
    ("blue/web", "198.51.100.66", 8, "ICMP", f"DENIED by {OUT}: a deny rule",
     ["spec.egressDeny[0]"]),
    ("blue/web", "red/backup", 8, "ICMP", f"ALLOWED by {OUT}", ["spec.egress[2]"]),
    ("blue/web", "host", 80, "TCP", f"DENIED by {OUT}", ["spec"]),
    ("xwing", "blue/web", "web", "TCP", OPEN, []),
    # The vault: of every namespace, and a deny rule
    ("6", "red/vault", 22, "TCP", f"ALLOWED by {VAULT}", ["spec.ingress[0]"]),
    ("172.30.0.12", "red/vault", 22, "TCP", f"ALLOWED by {VAULT}", ["spec.ingress[0]"]),
    ("172.30.0.11", "red/vault", 22, "TCP", "ALLOWED", []),
    ("xwing", "red/vault", 22, "TCP", f"DENIED by {VAULT}: closes", ["spec"]),
    ("app=backup", "app=vault", 22, "TCP", f"DENIED by {VAULT}: a deny rule",
     ["spec.ingressDeny[0]"]),
    ("red/vault", "red/backup", 22, "TCP", OPEN, []),
]  # fmt: skip


def test_there_are_a_hundred_cases():
    assert len({case[:4] for case in CASES + MORE}) >= 100


@pytest.mark.parametrize("case", CASES + MORE, ids=lambda case: " ".join(map(str, case[:4])))
def test_an_answer_and_that_its_changes_turn_it_round(case):
    source, destination, port, protocol, beginning, paths = case
    destination = destination.strip("{}")
    world = World()
    answer = world.ask(source, destination, port, protocol)
    assert answer["answer"].startswith(beginning)
    assert answer["allowed"] == beginning.startswith("ALLOWED")
    assert [rule["path"] for step in answer["steps"] for rule in step["rules"]] == paths
    no_policy_can = any("whatever policy says" in note for note in answer["notes"])
    if no_policy_can or not answer["steps"]:
        assert answer["changes"] == []
        return
    assert answer["changes"]
    for change in answer["changes"]:
        world.do(change)
    assert world.ask(source, destination, port, protocol)["allowed"] != answer["allowed"]


def the_change(answer):
    (change,) = answer["changes"]
    return change["action"], change["name"], change["path"], change["value"]


CHANGES = [
    (("xwing", "deathstar-1", 80),
     ("add", "rule1", "spec.ingress[0].fromEndpoints", {"matchLabels": {"org": "alliance"}})),
    (("tiefighter", "deathstar-1", 443),
     ("add", "rule1", "spec.ingress[0].toPorts[0].ports", {"port": "443", "protocol": "TCP"})),
    (("1.1.1.1", "deathstar-1", 80),
     ("add", "rule1", "spec.ingress", {"fromCIDR": ["1.1.1.1/32"], "toPorts": tcp(80)})),
    (("world", "deathstar-1", 80),
     ("add", "rule1", "spec.ingress", {"fromEntities": ["world"], "toPorts": tcp(80)})),
    (("blue/web", "red/db", 5433),
     ("add", "db", "spec.ingress[0].ports", {"port": 5433, "protocol": "TCP"})),
    (("192.0.2.9", "red/db", 5432),
     ("add", "db", "spec.ingress[0].from", {"ipBlock": {"cidr": "192.0.2.9/32"}})),
    (("blue/web", "198.51.100.66", 443), ("remove", "out", "spec.egressDeny[0]", None)),
    (("red/backup", "red/db", 5432),
     ("add", "db", "spec.ingress[0].from", {"podSelector": {"matchLabels": {"app": "backup"}}})),
    (("blue/web", "9.9.9.9", 0, "ICMP"),
     ("add", "out", "spec.egress[2].icmps[0].fields", {"family": "IPv4", "type": 0})),
    (("192.0.2.1", "red/db", 5432), ("remove", "db", "spec.ingress[1]", None)),
]  # fmt: skip


@pytest.mark.parametrize(("question", "change"), CHANGES, ids=lambda value: str(value)[:60])
def test_the_change_is_the_smallest(question, change):
    assert the_change(World().ask(*question)) == change


def test_what_nothing_selects_is_closed_by_a_policy_of_its_own_that_closes_nothing_else():
    world = World()
    answer = world.ask("xwing", "tiefighter", 80)
    action, _, path, document = the_change(answer)
    assert (action, path) == ("apply", "")
    assert document["spec"]["enableDefaultDeny"] == {"ingress": False}
    world.do(answer["changes"][0])
    assert not world.ask("xwing", "tiefighter", 80)["allowed"]
    assert world.ask("xwing", "tiefighter", 81)["allowed"]
    assert world.ask("deathstar-1", "tiefighter", 80)["allowed"]


def test_a_service_names_the_backend_and_the_worst_of_several():
    answer = World().ask("red/backup", "red/two", 1)
    assert not answer["allowed"]
    assert [each["allowed"] for each in answer["backends"]] == [False, True]
    assert answer["service"] == "red/two 10.96.0.6:1 leads to 10.0.2.6:5432"


def test_what_the_kernel_does_not_do_yet_is_said():
    answer = World().ask("xwing", "deathstar-1", 80, error="map policy: no room")
    assert "the kernel is not in step with this: map policy: no room" in answer["notes"]


def test_enforcement_modes():
    assert not World(enforcement=Enforcement.ALWAYS).ask("xwing", "tiefighter", 1)["allowed"]
    never = World(enforcement=Enforcement.NEVER).ask("xwing", "deathstar-1", 1)
    assert never["allowed"]
    assert never["changes"] == []
    assert "enable-policy is never" in never["notes"]


def test_a_policy_of_a_file_is_named_and_changed_as_such():
    world = World()
    key = PolicyKey("CiliumNetworkPolicy", "default", "rule1")
    row = world.tables.policies.get(astuple(key))
    world.put(msgspec.json.decode(row.text), "file")
    assert world.ask("xwing", "deathstar-1", 80)["answer"].startswith(
        f"DENIED by {RULE1}, {RULE1} (file): closes ingress"
    )
    world.engine.delete_policy(key)
    world.tables.policies.delete(row.key)
    answer = world.ask("xwing", "deathstar-1", 80)
    assert answer["answer"].startswith(f"DENIED by {RULE1} (file)")
    assert answer["changes"][0]["source"] == "file"
    for change in answer["changes"]:
        world.do(change)
    assert world.ask("xwing", "deathstar-1", 80)["allowed"]


BLOCK = [cilium("block", "default", {
    "endpointSelector": labelled(**{"class": "deathstar"}),
    "ingress": [{"fromCIDR": ["10.0.1.1/32", "172.30.0.12/32"]}],
})]  # fmt: skip


@pytest.mark.parametrize(
    ("modes", "allowed"),
    [((), []), (("pods",), ["xwing", "10.0.1.1"]), (("nodes",), ["172.30.0.12"])],
)
def test_cidr_rules_match_pods_and_nodes_by_choice(modes, allowed):
    world = World(BLOCK, cidr_matches=frozenset(modes))
    for word in ("xwing", "10.0.1.1", "tiefighter", "172.30.0.12"):
        answer = world.ask(word, "deathstar-1", 80)
        assert answer["allowed"] == (word in allowed), (modes, word, answer["answer"])


def test_with_one_family_the_world_is_one():
    rule = cilium("world", "default", {
        "endpointSelector": labelled(**{"class": "deathstar"}),
        "ingress": [{"fromEntities": ["world"]}],
    })  # fmt: skip
    everything = cilium("all4", "default", {
        "endpointSelector": labelled(**{"class": "deathstar"}),
        "ingress": [{"fromCIDR": ["0.0.0.0/0"]}],
    })  # fmt: skip
    for policy in (rule, everything):
        world = World([policy], worlds=Worlds(v4=True, v6=False))
        assert world.ask("1.1.1.1", "deathstar-1", 80)["allowed"]
        assert world.ask("world", "deathstar-1", 80)["allowed"]
        assert not world.ask("xwing", "deathstar-1", 80)["allowed"]


def test_of_a_refused_object_the_version_in_force_answers():
    world = World()
    row = world.tables.policies.get(("CiliumNetworkPolicy", "default", "rule1", ""))
    world.tables.policies.upsert(msgspec.structs.replace(row, text=b'{"kind": "broken"}'))
    answer = world.ask("xwing", "deathstar-1", 80)
    assert answer["answer"].startswith(f"DENIED by {RULE1}")
    assert answer["changes"][0]["action"] == "apply"


@pytest.mark.parametrize(
    ("question", "error", "told"),
    [
        (("nobody", "xwing", 80), NotFound, "no pod of this name"),
        (("xwing", "nobody", 80), NotFound, "no pod or service of this name"),
        (("4711", "xwing", 80), NotFound, "see `cilia identity list`"),
        (("", "xwing", 80), InvalidValue, "write from="),
        (("xwing", "deathstar-1", "https"), InvalidValue, "it has http"),
        (("xwing", "deathstar-1", 70000), InvalidValue, "up to 65535"),
        (("xwing", "deathstar-1", 80, "TPC"), InvalidValue, "write one of TCP"),
        (("xwing", "deathstar", 81), InvalidValue, "name one of its ports: 8000/TCP"),
        (("xwing", "red/none", 1), NotFound, "no backends"),
        (("reserved:nobody", "xwing", 1), NotFound, "no reserved identity"),
    ],
)
def test_what_is_wrong_with_a_question_is_said(question, error, told):
    with pytest.raises(error, match=told):
        World().ask(*question)
