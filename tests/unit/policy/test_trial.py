"""Trials: what cases come to, what is said of failures, and what broken files get told."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner

from cilia.cli.errors import ClientError
from cilia.cli.program import cilia
from cilia.policy.contents import Enforcement
from cilia.policy.trial.documents import BrokenInput
from cilia.policy.trial.report import junit, report_lines, summary
from cilia.policy.trial.trial import TrialSettings, run_trial

HOMES = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: blue, labels: {app: web}}
status: {podIP: 10.0.1.5, podIPs: [{ip: 10.0.1.5}, {ip: "not yet"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: red, labels: {app: db}}
---
apiVersion: v1
kind: Pod
metadata: {name: backup, namespace: red, labels: {app: backup}}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 172.30.0.11}]}
"""
STAR_WARS = Path(__file__).parent / "starwars"

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: blue, labels: {env: test}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: blue, labels: {app: web}}
spec:
  serviceAccountName: webber
  containers: [{ports: [{name: http, containerPort: 8080}]}]
status: {podIP: 10.0.1.5}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: blue}
spec: {hostNetwork: true}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: red}
spec:
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{ports: [{name: sql, containerPort: 5432}]}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup, namespace: red}
spec: {jobTemplate: {spec: {template: {metadata: {labels: {app: backup}}}}}}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 172.30.0.11}, {type: Hostname, address: n1}]}
---
apiVersion: v1
kind: Service
metadata: {name: sql, namespace: red}
spec: {selector: {app: db}, ports: [{name: main, port: 3306, targetPort: sql}]}
---
apiVersion: v1
kind: Service
metadata: {name: legacy, namespace: red}
spec: {ports: [{port: 25}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: legacy-1, namespace: red, labels: {kubernetes.io/service-name: legacy}}
endpoints: [{addresses: [192.0.2.25]}]
---
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: office}
spec: {externalCIDRs: [198.51.100.0/24]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: passed-over}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: red}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {env: test}}
      podSelector: {matchLabels: {app: web}}
    ports: [{port: sql}]
  - from: [{ipBlock: {cidr: 198.51.0.0/16, except: [198.51.7.0/24]}}]
  egress:
  - to: [{podSelector: {}}]
    ports: [{port: 1000, endPort: 2000}]
---
apiVersion: v1
kind: List
items:
- apiVersion: cilium.io/v2
  kind: CiliumNetworkPolicy
  metadata: {name: out, namespace: blue}
  spec:
    endpointSelector: {matchLabels: {app: web}}
    egress:
    - toEndpoints: [{matchLabels: {app: db, k8s:io.kubernetes.pod.namespace: red}}]
    - toServices: [{k8sService: {serviceName: legacy, namespace: red}}]
    - toCIDRSet: [{cidrGroupRef: office}]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
    - toEntities: [remote-node]
    - icmps: [{fields: [{type: EchoRequest}]}]
    egressDeny:
    - toCIDR: [198.51.100.9/32]
- apiVersion: cilium.io/v2
  kind: CiliumClusterwideNetworkPolicy
  metadata: {name: by-account}
  spec:
    endpointSelector: {matchLabels: {app: vault}}
    ingress:
    - fromEndpoints: [{matchLabels: {io.cilium.k8s.policy.serviceaccount: webber}}]
"""

VAULT = "{labels: {app: vault}, namespace: red}"
DB_CLIENT = "{labels: {app: web}, namespace: blue}"

CASES = [
    ("blue/web", "red/db", "5432", "allow", "db"),
    ("blue/web", "red/db", "sql", "allow", "out"),
    ("blue/web", "red/db", "5433", "deny", "db"),
    ("blue/web", "red/db", "5432/UDP", "deny", "red/db"),
    ("blue/web", "{service: red/sql}", "3306", "allow", "NetworkPolicy red/db"),
    ("blue/web", "{service: red/sql}", "main", "allow", ""),
    ("blue/web", "{service: red/legacy}", "25", "allow", "out"),
    ("red/backup", "{service: red/legacy}", "25", "allow", ""),
    ("red/backup", "red/db", "sql", "deny", "db"),
    ("red/backup", "blue/web", "http", "allow", ""),
    ("red/db", "red/backup", "1000", "allow", "db"),
    ("red/db", "red/backup", "2000", "allow", "db"),
    ("red/db", "red/backup", "2001", "deny", "db"),
    ("red/db", "blue/web", "1000", "deny", "db"),
    ("198.51.100.1", "red/db", "1", "allow", "db"),
    ("198.51.7.1", "red/db", "1", "deny", "db"),
    ("198.50.0.0/16", "red/db", "1", "deny", ""),
    ("2001:db8::1", "red/db", "1", "deny", ""),
    ("world", "red/db", "5432", "deny", "db"),
    ("world-ipv6", "red/backup", "80", "allow", ""),
    ("host", "red/db", "5432", "allow", ""),
    ("remote-node", "red/db", "5432", "deny", "db"),
    ("{node: n1}", "red/db", "5432", "deny", ""),
    ("172.30.0.11", "red/db", "5432", "deny", ""),
    ("blue/agent", "red/db", "5432", "deny", ""),
    ("10.0.1.5", "red/db", "5432", "allow", ""),
    ("kube-apiserver", "red/db", "5432", "deny", ""),
    ("blue/web", "198.51.100.1", "443", "allow", "out"),
    ("blue/web", "198.51.100.1", "80", "deny", "out"),
    ("blue/web", "198.51.100.9", "443", "deny", "CiliumNetworkPolicy blue/out"),
    ("blue/web", "remote-node", "10250", "allow", "out"),
    ("blue/web", "host", "10250", "deny", "out"),
    ("blue/web", "1.1.1.1", "EchoRequest/ICMP", "allow", "out"),
    ("blue/web", "1.1.1.1", "8/ICMP", "allow", "out"),
    ("blue/web", "1.1.1.1", "0/ICMP", "deny", "out"),
    ("blue/web", "2606:4700:4700::1111", "EchoRequest/ICMPv6", "deny", "out"),
    ("{labels: {app: web}, namespace: blue, serviceAccount: webber}", VAULT, "1", "deny", "out"),
    ("{labels: {app: x}, namespace: blue, serviceAccount: webber}", VAULT, "1", "allow",
     "by-account"),
    ("{labels: {app: x}, namespace: blue}", VAULT, "1", "deny", "by-account"),
    (DB_CLIENT, "red/db", "5432", "allow", "db"),
    ("{labels: {app: web}, namespace: red}", "red/db", "5432", "deny", "db"),
    ("red/backup", "{labels: {a: b}, namespace: blue, ports: {web: 81}}", "web", "allow", ""),
    ("{ip: 198.51.7.1}", "{pod: red/db}", "1", "deny", "db"),
    ("{entity: host}", "red/db", "1", "allow", ""),
    ("{namespace: red}", "red/db", "5432", "deny", "db"),
]  # fmt: skip


BY_ADDRESS = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: by-address, namespace: red}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingress:
  - fromCIDR: [10.0.1.5/32, 172.30.0.11/32]
"""


@pytest.mark.parametrize(
    ("modes", "allowed"),
    [((), ()), (("pods",), ("blue/web", "10.0.1.5")), (("nodes",), ("172.30.0.11", "{node: n1}"))],
)
def test_cidr_rules_match_pods_and_nodes_by_choice(tmp_path, modes, allowed):
    words = ("blue/web", "10.0.1.5", "172.30.0.11", "{node: n1}", "red/backup")
    cases = [
        f"- {{from: {word}, to: red/db, port: 5432, expect: {expected}}}"
        for word in words
        for expected in ["allow" if word in allowed else "deny"]
    ]
    (tmp_path / "world.yaml").write_text(f"{HOMES}---{BY_ADDRESS}")
    (tmp_path / "cases.yaml").write_text("\n".join(cases))
    flags = [word for mode in modes for word in ("--policy-cidr-match-mode", mode)]
    done = CliRunner().invoke(cilia, ["policy", "test", str(tmp_path), *flags])
    assert "5 cases: 5 passed" in done.output


def trial(folder, cases, world=WORLD, **settings):
    (folder / "world.yaml").write_text(world)
    (folder / "cases.yaml").write_text(cases)
    return run_trial(folder, settings=TrialSettings(**settings))


def line(source, destination, port, expect, because=""):
    reason = f', because: "{because}"' if because else ""
    return f"- {{from: {source}, to: {destination}, port: {port}, expect: {expect}{reason}}}\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[:3]))
def test_a_case_holds_and_its_opposite_fails(case, tmp_path):
    source, destination, port, expect, _ = case
    opposite = {"allow": "deny", "deny": "allow"}[expect]
    cases = line(*case) + line(source, destination, port, opposite)
    report = trial(tmp_path, cases)
    passed = [outcome.passed for outcome in report.outcomes]
    half = len(passed) // 2
    assert passed == [True] * half + [False] * half, list(report_lines(report))


def test_star_wars_is_whole():
    report = run_trial(STAR_WARS, settings=TrialSettings(mutate=True))
    assert summary(report) == (
        "10 cases: 10 passed, 0 failed; 2 of 2 rules exercised; 4 of 4 changes noticed"
    )


def test_a_failure_says_what_came_instead_and_where_it_is_written(tmp_path):
    report = trial(tmp_path, line("red/backup", "red/db", "sql", "allow"))
    number = WORLD[: WORLD.index("  podSelector: {matchLabels: {app: db}}")].count("\n")
    head, wanted, got, side, rule = list(report_lines(report))[:5]
    assert head == f"FAIL  {tmp_path}/cases.yaml:1  red/backup -> red/db 5432/TCP"
    assert (wanted.split(), got.split()) == (["expected", "allow"], ["got", "deny"])
    assert side.strip() == (
        "ingress of red/db: denied, as nothing allows it and the direction is closed"
    )
    assert rule.strip() == (
        "closed by NetworkPolicy red/db spec (default deny ingress), "
        f"{tmp_path}/world.yaml:{number}"
    )


def test_a_wrong_reason_fails_and_is_told_apart(tmp_path):
    report = trial(tmp_path, line("blue/web", "red/backup", "1", "deny", "db"))
    text = "\n".join(report_lines(report))
    assert not report.outcomes[0].passed
    assert "the verdict is right, the reason is another" in text
    assert "closed by CiliumNetworkPolicy blue/out spec (default deny egress)" in text


def test_lists_are_every_combination(tmp_path):
    report = trial(tmp_path, line("[host, world]", "[red/db, blue/web]", "[1, 2]", "deny"))
    assert len(report.outcomes) == 3 * 2 * 2


def test_rules_that_no_case_exercises_are_named(tmp_path):
    report = trial(tmp_path, line("red/db", "red/backup", "1000", "allow"))
    found = {(rule.policy.name, rule.path) for rule in report.untried}
    assert ("db", "spec.egress[0]") not in found
    assert {("db", "spec.ingress[0]"), ("out", "spec.egressDeny[0]")} <= found


def test_a_change_that_no_case_notices_is_named(tmp_path):
    cases = line("blue/web", "red/db", "5432", "allow")
    report = trial(tmp_path, cases, mutate=True)
    found = {(m.rule.policy.name, m.rule.path, m.change) for m in report.survivors}
    assert ("db", "spec.ingress[0]", "deleted") not in found
    assert ("db", "spec.ingress[0]", "for any port") in found
    assert ("db", "spec", "default deny lifted") in found
    cases += line("blue/web", "red/db", "5433", "deny")
    again = trial(tmp_path, cases, mutate=True)
    found = {(m.rule.policy.name, m.rule.path, m.change) for m in again.survivors}
    assert ("db", "spec.ingress[0]", "for any port") not in found
    assert [o.passed for o in again.outcomes] == [True, True]


def test_enforcement_always_closes_what_no_policy_speaks_of(tmp_path):
    cases = line("red/backup", "blue/web", "http", "deny")
    assert not trial(tmp_path, cases, enforcement=Enforcement.ALWAYS).failed
    assert trial(tmp_path, cases).failed


BROKEN = [
    ("- {from: [}", "cases.yaml:1: not YAML"),
    ("from: a", "cases.yaml:1: is not a list"),
    ("- 5", "is not an object"),
    ("\n- {from: red/db}", "cases.yaml:2: case 1: to: is missing"),
    ("- {form: red/db}", "form: no such field; did you mean from?"),
    (line("red/bd", "red/db", "1", "deny"), "did you mean red/db?"),
    (line("red/db", "red/db", "1", "forbid"), "expect forbid: is not known"),
    (line("red/db", "red/db", "sqll", "deny"), "is no port of red/db; did you mean sql?"),
    (line("red/db", "1.1.1.1", "sql", "deny"), "give the container's port that name"),
    (line("red/db", "red/db", "80/TPC", "deny"), "did you mean TCP?"),
    (line("red/db", "red/db", "70000", "deny"), "is out of range"),
    (line("red/db", "red/db", "Ekoreply/ICMP", "deny"), "did you mean EchoReply?"),
    (line("red/db", "red/db", "1", "deny", "bd"), "is no policy of the manifests"),
    (line("cluster", "red/db", "1", "deny"), "is many parties"),
    (line("{entity: wrold}", "red/db", "1", "deny"), "did you mean world?"),
    (line("{ip: xwing}", "red/db", "1", "deny"), "is not an address"),
    (line("{node: n2}", "red/db", "1", "deny"), "known are n1"),
    (line("{pod: red/db, ip: 1.1.1.1}", "red/db", "1", "deny"), "write one of pod, labels"),
    (line("red/db", "{service: red/sqll}", "1", "deny"), "did you mean red/sql?"),
    (line("red/db", "{service: red/sql}", "1", "deny"), "it has 3306 main"),
]


@pytest.mark.parametrize(("cases", "told"), BROKEN)
def test_broken_cases_are_told_where_and_how(cases, told, tmp_path):
    with pytest.raises(BrokenInput) as error:
        trial(tmp_path, cases)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("world", "told"),
    [
        (WORLD + WORLD[WORLD.index("---\napiVersion: networking") :], "is also at"),
        (WORLD.replace("egressDeny", "egressDny"), "did you mean egressDeny?"),
        (WORLD.replace("containerPort: 8080", "containerPort: a"), "is not a whole number"),
        (WORLD.replace("kind: Node\nmetadata: {name: n1}", "kind: Node"), "metadata.name"),
        (WORLD.replace("kind: Node\n", ""), "kind: is missing"),
    ],
)
def test_broken_manifests_are_told_where_and_how(world, told, tmp_path):
    with pytest.raises(BrokenInput) as error:
        trial(tmp_path, "[]", world)
    assert "world.yaml:" in str(error.value)
    assert told in str(error.value)


def test_a_folder_without_cases_is_told_what_to_write(tmp_path):
    with pytest.raises(BrokenInput, match=r"has no cases.yaml; write"):
        run_trial(tmp_path)


def test_junit_has_a_case_each_and_the_difference(tmp_path):
    cases = line("red/db", "red/backup", "1000", "allow")
    cases += line("red/db", "red/backup", "1000", "deny")
    suite = ElementTree.fromstring(junit(trial(tmp_path, cases)))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite[1].find("failure")
    assert failure is not None
    assert failure.get("message") == "expected deny; got allow"
    assert suite[1].get("line") == "2"


def test_the_command_and_its_exit_codes(tmp_path):
    run = CliRunner().invoke
    done = run(cilia, ["policy", "test", str(STAR_WARS)], standalone_mode=False)
    assert done.return_value == 0
    assert done.output.count("ok  ") == 10
    report = tmp_path / "junit.xml"
    words = ["policy", "test", str(tmp_path), "-f", str(STAR_WARS), "--junit", str(report), "-q"]
    (tmp_path / "cases.yaml").write_text(line("xwing", "deathstar", "80", "allow"))
    done = run(cilia, words, standalone_mode=False)
    assert done.return_value == 1
    assert "FAIL" in done.output
    assert report.read_bytes().startswith(b"<?xml")
    (tmp_path / "cases.yaml").write_text("[")
    done = run(cilia, words)
    assert isinstance(done.exception, ClientError)
    assert done.exception.exit_code == 2


def test_report_is_a_value():
    report = run_trial(STAR_WARS)
    assert msgspec.structs.replace(report, survivors=()) == report
