"""`policy test --kernel`: engine, oracle and programs give one answer, and a lie is found."""

import os
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.cli.errors import ClientError
from cilia.cli.program import cilia
from cilia.model.identities import ReservedIdentity
from cilia.model.rules import Direction
from cilia.policy.decision import Decider, Decision, Ports, RowTable, Verdict
from cilia.policy.frames import opens_connection, version_for
from cilia.policy.kernel_trial import Programs
from unit.policy.test_decisions import Model, probes
from unit.policy.universe import GROUPS, PODS, PROTOCOLS, SERVICE_LISTS, policies

LONG = bool(os.environ.get("CILIA_LONG_TESTS"))

MANIFESTS = """
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}
---
kind: Pod
metadata: {name: db, labels: {app: db}}
---
kind: Pod
metadata: {name: job, labels: {app: job}}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: db}}]
    toPorts: [{ports: [{port: http, protocol: TCP}, {port: "90", endPort: 99, protocol: SCTP}]}]
  - fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidr: "fd00::/8"}]
    toPorts: [{ports: [{port: "53", protocol: UDP}]}]
  - fromEntities: [all]
    icmps: [{fields: [{family: IPv4, type: 8}, {family: IPv6, type: EchoRequest}]}]
  ingressDeny:
  - fromEndpoints: [{matchLabels: {app: job}}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db}
spec:
  endpointSelector: {matchLabels: {app: db}}
  egress:
  - toEntities: [world, remote-node]
"""
CASES = """
- {from: db, to: web, port: http, expect: deny}
- {from: job, to: web, port: http, expect: deny, because: web}
- {from: web, to: [db, job], port: 5432, expect: allow}
- {from: remote-node, to: web, port: 95/SCTP, expect: deny}
- {from: host, to: [web, db], port: 22, expect: allow}
- {from: [10.2.0.1, "fd00::1"], to: web, port: 53/UDP, expect: allow}
- {from: [10.1.0.1, 192.0.2.1, "2001:db8::1"], to: web, port: 53/UDP, expect: deny}
- {from: 10.2.0.1, to: web, port: EchoRequest/ICMP, expect: allow}
- {from: "fd00::1", to: web, port: EchoRequest/ICMPv6, expect: allow}
- {from: web, to: web, port: 80, expect: deny}
- {from: db, to: [remote-node, 1.1.1.1], port: 443, expect: allow}
- {from: db, to: 1.1.1.1, port: DestinationUnreachable/ICMP, expect: allow}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of policies with rules and cases of every kind."""
    (tmp_path / "manifests.yaml").write_text(MANIFESTS)
    (tmp_path / "cases.yaml").write_text(CASES)
    return tmp_path


def test_the_programs_decide_as_the_engine_does(folder: Path) -> None:
    report = folder / "report.xml"
    done = CliRunner().invoke(
        cilia, ["policy", "test", str(folder), "--kernel", "--junit", str(report)],
        standalone_mode=False,
    )  # fmt: skip
    assert done.exception is None
    assert done.return_value == 0, done.output
    assert "decisions asked of the programs, 0 differ (1 cases open no" in done.output
    suite = ElementTree.parse(report).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == (str(len(suite)), "0")


def test_what_the_engine_gets_wrong_is_a_failure_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = RowTable.find

    def find(self: RowTable, *question: object) -> tuple[Verdict, int]:
        verdict, provenance = honest(self, *question)  # type: ignore[arg-type]  # passed on
        return (Verdict.DEFAULT_DENY if verdict is Verdict.DENY else verdict), provenance

    monkeypatch.setattr(RowTable, "find", find)
    report = folder / "report.xml"
    done = CliRunner().invoke(
        cilia, ["policy", "test", str(folder), "--kernel", "-q", "--junit", str(report)],
        standalone_mode=False,
    )  # fmt: skip
    assert done.return_value == 1, done.output
    assert "FAIL" not in done.output
    assert "DIFF" in done.output
    assert "the programs: ingress of default/web: denied" in done.output
    assert ElementTree.parse(report).getroot()[0].get("failures") == "1"


def test_who_is_not_root_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(
        cilia, ["policy", "test", str(folder), "--kernel"], standalone_mode=False
    )
    assert isinstance(done.exception, ClientError)
    assert "root" in str(done.exception)
    assert done.exception.exit_code == 3


def answer(decision: Decision) -> str:
    """A decision in the oracle's words."""
    if decision.verdict.passes:
        return "allow"
    return "deny" if decision.verdict is Verdict.DENY else "default-deny"


@settings(max_examples=150 if LONG else 8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pods=st.lists(PODS, min_size=2, max_size=4),
    found=st.lists(policies(), min_size=1, max_size=5),
    groups=GROUPS,
    services=SERVICE_LISTS,
    draws=st.randoms(use_true_random=False),
)
def test_programs_and_specification_agree(pods, found, groups, services, draws):  # type: ignore[no-untyped-def]  # drawn
    model = Model()
    for number, party in enumerate(pods, 1000):
        model.set_pod(number, party)
    model.set_world(groups, services)
    for index, policy in enumerate(found):
        policy["metadata"]["name"] = f"p{index}"
        model.set_policy(policy)
    model.commit()
    with ExitStack() as stack:
        programs = Programs(Decider(model.engine), stack)
        for probe in probes(draws.sample(model.pairs(), min(40, len(model.pairs())))):
            subject, direction, peer, protocol, port = probe
            ports = Ports(PROTOCOLS[protocol], port)
            who = ip_network(peer) if isinstance(peer, str) else peer
            version = version_for(ports, 4 if isinstance(peer, int) else who.version)
            # The host reaches its own pods whatever policy says: the oracle knows policy alone.
            if who == ReservedIdentity.HOST or not opens_connection(ports):
                continue
            if not isinstance(peer, int) and who.version != version:
                continue
            decided = programs.decide(subject, Direction(direction), who, ports, version)
            assert answer(decided) == model.expected(*probe), probe
