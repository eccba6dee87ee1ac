"""Policy files judged: each finding at its line, and nothing else."""

from textwrap import dedent

from cilia.policy.trial.documents import parse_documents
from cilia.policy.validation import Findings, validate

GOOD = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: good
spec:
  endpointSelector: {}
  ingress:
    - fromEndpoints: [{}]
"""


def judge(text: str) -> Findings:
    return validate(parse_documents(dedent(text), "f.yaml"))


def test_a_good_policy_among_other_kinds() -> None:
    found = judge("kind: Pod\nmetadata: {name: a}\n---\n" + GOOD)
    assert (found.policies, found.findings, found.errors) == (1, (), 0)


def test_an_error_is_at_its_line_with_its_remedy() -> None:
    found = judge(GOOD + "      toPorts:\n        - ports:\n            - port: 80\n")
    (each,) = found.findings
    assert (each.severity, each.place) == ("error", "f.yaml:11")
    assert each.path == "spec.ingress[0].toPorts[0].ports[0].port"
    assert 'write "80"' in each.message
    assert found.errors == 1


def test_a_field_that_is_nearly_right() -> None:
    (each,) = judge(GOOD.replace("ingress:", "ingres:")).findings
    assert each.place == "f.yaml:7"
    assert "did you mean ingress?" in each.message


def test_a_kind_that_is_nearly_right() -> None:
    (each,) = judge(GOOD.replace("NetworkPolicy", "NetworkPolcy")).findings
    assert each.place == "f.yaml:2"
    assert "CiliumNetworkPolicy?" in each.message


def test_a_warning_is_at_its_line_and_no_error() -> None:
    found = judge(GOOD + "    - {}\n")
    (each,) = found.findings
    assert (str(each.severity), each.place, found.errors) == ("warning", "f.yaml:9", 0)


def test_what_is_written_twice() -> None:
    repeated = [each.message for each in judge(GOOD + "  ingress: [{}]\n").findings]
    assert repeated == ["ingress is written twice, and only the last counts; join them"]
    (each,) = judge(GOOD + "---\n" + GOOD).findings
    assert each.place == "f.yaml:10"
    assert "is in f.yaml:1 too" in each.message


def test_every_policy_of_a_file_is_judged() -> None:
    bad = GOOD.replace("name: good", "name: bad").replace("endpointSelector: {}", "labels: []")
    found = judge(bad + "---\n" + GOOD + "---\n" + bad)
    assert (found.policies, found.errors) == (3, 2)
