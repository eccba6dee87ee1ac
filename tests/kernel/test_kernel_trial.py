"""`policy test --kernel`: engine, oracle and programs give one answer, and a lie is found."""

import os
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
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
from cilia.policy.frames import opens_connection
from cilia.policy.kernel_programs import End, Programs
from unit.policy.test_addresses import INSIDE, LABELS, Addressed, node, with_nodes
from unit.policy.test_decisions import probes
from unit.policy.universe import GROUPS, PODS, PROTOCOLS, SERVICE_LISTS

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


PLACED = """
kind: Pod
metadata: {name: web, labels: {app: web}}
status: {podIPs: [{ip: 10.0.1.5}, {ip: "fd00:10:0:1::5"}]}
---
kind: Pod
metadata: {name: db, labels: {app: db}}
status: {podIPs: [{ip: 10.0.2.6}, {ip: "fd00:10:0:2::6"}]}
---
kind: Node
metadata: {name: n2}
status:
  addresses:
  - {type: InternalIP, address: 172.30.0.12}
  - {type: InternalIP, address: "fd00:30::12"}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{ipBlock: {cidr: 10.0.2.0/24}}, {ipBlock: {cidr: "fd00:30::/64"}}]
  egress:
  - to: [{ipBlock: {cidr: "fd00:10:0:2::/64"}}, {ipBlock: {cidr: 172.30.0.0/24}}]
"""
PLACED_CASES = """
- {from: 10.0.2.6, to: web, port: 80, expect: %(pods)s}
- {from: "fd00:10:0:2::6", to: web, port: 80, expect: deny}
- {from: 172.30.0.12, to: web, port: 80, expect: deny}
- {from: "fd00:30::12", to: web, port: 80, expect: %(nodes)s}
- {from: web, to: 10.0.2.6, port: 5432, expect: deny}
- {from: web, to: "fd00:10:0:2::6", port: 5432/UDP, expect: %(pods)s}
- {from: web, to: 172.30.0.12, port: 443, expect: %(nodes)s}
- {from: web, to: "fd00:30::12", port: 443, expect: deny}
- {from: 10.0.2.7, to: web, port: 80, expect: allow}
- {from: host, to: web, port: 80, expect: allow}
"""


@pytest.mark.parametrize("modes", [(), ("nodes",), ("pods",), ("nodes", "pods")])
def test_the_programs_match_pods_and_nodes_by_address_where_the_agents_do(
    modes: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "manifests.yaml").write_text(PLACED)
    expected = {kind: "allow" if kind in modes else "deny" for kind in ("nodes", "pods")}
    (tmp_path / "cases.yaml").write_text(PLACED_CASES % expected)
    flags = [word for mode in modes for word in ("--policy-cidr-match-mode", mode)]
    done = CliRunner().invoke(
        cilia, ["policy", "test", str(tmp_path), "--kernel", *flags], standalone_mode=False
    )
    assert done.exception is None
    assert done.return_value == 0, done.output
    assert ", 0 differ" in done.output


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
    for way in ("pod_from, IPv4", "pod_from, IPv6", "host_from_net, IPv4", "host_from_net, IPv6"):
        assert f"the programs ({way}): ingress of default/web: denied\n" in done.output
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


def end(model: Addressed, peer: Any) -> End:
    """A peer of the model as an end of a packet."""
    if isinstance(peer, str):
        return End(at=ip_address(peer))
    if isinstance(peer, tuple):
        return End(peer[1], peer[1] if peer[1] in model.pods else 0, ip_address(peer[0]))
    return End(peer, peer if peer in model.pods else 0)


def ask(programs: Programs, subject: End, direction: int, peer: End, ports: Ports) -> set[Decision]:
    """What the programs say to one question, by every way and in every family."""
    found = set()
    for version in (4, 6):
        if (peer.at is not None and peer.at.version != version) or (
            ports.protocol == {4: 58, 6: 1}[version]
        ):
            continue
        stranger = End(peer.identity, at=peer.at)
        if direction == Direction.EGRESS:
            found.add(programs.leave(subject, peer, ports, version)[Direction.EGRESS])
            continue
        found.add(programs.enter("host_from_net", stranger, subject, ports, version))
        if peer.endpoint:
            both = programs.leave(peer, subject, ports, version)
            assert both[Direction.EGRESS].verdict.passes == (Direction.INGRESS in both)
            found |= {both[d] for d in both if d is Direction.INGRESS}
    return found


@settings(max_examples=150 if LONG else 8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pods=st.lists(PODS, min_size=2, max_size=4),
    nodes=st.lists(LABELS.map(node), min_size=1, max_size=2),
    found=st.lists(with_nodes(), min_size=1, max_size=5),
    groups=GROUPS,
    services=SERVICE_LISTS,
    matches=st.sets(st.sampled_from(["nodes", "pods"])),
    draws=st.randoms(use_true_random=False),
)
def test_programs_and_specification_agree(  # type: ignore[no-untyped-def]  # drawn
    pods, nodes, found, groups, services, matches, draws
):
    model = Addressed(matches)
    for number, party in enumerate(pods, 1000):
        model.set_pod(number, party)
    for number, party in enumerate(nodes, 0x02000001):
        model.set_node(number, party)
    model.set_world(groups, services)
    for address in INSIDE:
        model.set_address(address, draws.choice([*model.pods, *model.nodes]))
    for index, policy in enumerate(found):
        policy["metadata"]["name"] = f"p{index}"
        model.set_policy(policy)
    decider = Decider(model.engine)
    homes = {ip_network(address): identity for address, identity in model.homes.items()}
    model.commit()
    with ExitStack() as stack:
        programs = Programs(decider, stack, homes)
        for probe in probes(draws.sample(model.pairs(), min(40, len(model.pairs())))):
            subject, direction, peer, protocol, port = probe
            ports = Ports(PROTOCOLS[protocol], port)
            # The host reaches its own pods whatever policy says: the oracle knows policy alone.
            # An address that somebody has is not outside.
            if peer == ReservedIdentity.HOST or peer in model.homes or not opens_connection(ports):
                continue
            decided = ask(programs, End(subject, subject), direction, end(model, peer), ports)
            assert {answer(each) for each in decided} <= {model.expected(*probe)}, probe
