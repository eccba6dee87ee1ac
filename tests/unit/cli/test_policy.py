"""`cilia policy list`, `stats`, `conflicts` and `validate`: what they print and their codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cilia.cli.commands import policy, policy_status
from cilia.cli.errors import ClientError
from cilia.cli.program import cilia

STATUS = {
    "kind": "CiliumNetworkPolicy",
    "namespace": "shop",
    "name": "p",
    "source": "kubernetes",
    "valid": True,
    "error": "",
    "warnings": ["spec.x is odd; do y"],
    "revision": 7,
    "rules": 2,
    "selected": 2,
    "enforced": 1,
    "pods": ["shop/db", "shop/web"],
    "missing": ["shop/web"],
    "reason": "the endpoint is closed",
}
REFUSED = {**STATUS, "name": "q", "source": "/policies/q.yaml:3"} | {
    "valid": False, "error": "spec: is wrong", "enforced": 0,
}  # fmt: skip


def rule(**facts: Any) -> dict[str, Any]:
    found = {"kind": "CiliumNetworkPolicy", "namespace": "shop", "name": "p"}
    hit = {"connections": 3, "packets": 30, "bytes": 3000, "last-hit": 1.0}
    which = {"path": "spec.ingress[0]", "direction": "ingress", "verdict": "allow"}
    return {**found, **which, **hit, **facts}


STATS = {
    "since": 0,
    "rules": [
        rule(),
        rule(path="spec.ingress[1]", **{"last-hit": None}),
        rule(path="spec.ingressDeny[0]", verdict="deny", connections=0),
        rule(path="spec", verdict="default-deny", connections=0, **{"last-hit": None}),
    ],
    "denied-unaccounted": {"packets": 4, "bytes": 400},
}
CONFLICTS = {
    "rules": 2,
    "complete": True,
    "conflicts": [
        {
            "kind": "shadowed",
            "rule": rule(),
            "others": [rule(path="spec.ingressDeny[0]")],
            "detail": "everything that it allows is denied",
        }
    ],
}


LABEL = "k8s:io.cilium.k8s.policy"
SELECTOR = {
    "selector": "k8s:app=web",
    "labels": [
        f"{LABEL}.derived-from=CiliumNetworkPolicy", f"{LABEL}.name=p", f"{LABEL}.namespace=shop",
        f"{LABEL}.derived-from=CiliumClusterwideNetworkPolicy", f"{LABEL}.name=w",
    ],
    "users": 2,
    "identities": [7],
}  # fmt: skip


ANSWERS = {
    "/v1/policy/selectors": [SELECTOR],
    "/v1/policy/status": [STATUS, REFUSED],
    "/v1/policy/stats": STATS,
    "/v1/policy/conflicts": CONFLICTS,
}


class Agent:
    """Answers at once."""

    def get(self, path: str) -> Any:
        return ANSWERS[path]


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.setattr(policy_status, "agent", Agent)
    return CliRunner().invoke(cilia, ["policy", *words])


def test_list_names_the_missing_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = run(monkeypatch, "list").output.splitlines()
    assert lines[0].split() == [
        "KIND", "NAMESPACE", "NAME", "SOURCE", "VALID", "ENFORCED", "RULES", "MESSAGE",
    ]  # fmt: skip
    assert lines[1].split()[:7] == [
        "CiliumNetworkPolicy", "shop", "p", "kubernetes", "True", "1/2", "2",
    ]  # fmt: skip
    assert "not enforced by shop/web: the endpoint is closed" in lines[1]
    assert "warning: spec.x is odd; do y" in lines[2]
    assert lines[3].split()[3:6] == ["/policies/q.yaml:3", "False", "0/2"]
    assert "spec: is wrong" in lines[3]


def test_list_wide_marks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    output = run(monkeypatch, "ls", "-o", "wide").output
    assert "shop/web (not enforced)" in output
    assert "shop/db (not" not in output.split("q ")[0]


def test_stats_count_what_rules_allow_and_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = run(monkeypatch, "stats").output.splitlines()
    assert lines[1].split()[3:8] == ["ingress", "allow", "3", "30", "3000"]
    assert lines[2].split()[-1] == "never"
    assert lines[3].split()[3:8] == ["ingress", "deny", "-", "30", "3000"]
    assert lines[4].split()[2:5] == ["spec", "ingress", "default-deny"]
    assert lines[-1].startswith("4 more packets were denied")
    unused = json.loads(run(monkeypatch, "stats", "--unused", "-o", "json").output)
    assert [each["path"] for each in unused["rules"]] == ["spec.ingress[1]"]


def test_selectors_name_their_policies_and_with_v_all_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy, "agent", Agent)
    short = CliRunner().invoke(cilia, ["policy", "selectors"]).output
    assert short.splitlines()[1].split() == ["k8s:app=web", "shop/p,", "w", "2", "7"]
    full = CliRunner().invoke(cilia, ["policy", "selectors", "-v"]).output
    assert "k8s:io.cilium.k8s.policy.name=p" in full


def test_conflicts_name_both_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = run(monkeypatch, "conflicts").output.splitlines()
    assert lines[1].startswith("shadowed")
    assert lines[1].index("p spec.ingress[0]") < lines[1].index("p spec.ingressDeny[0]")
    assert lines[-1] == "1 conflict among 2 rules"


GOOD = """
kind: CiliumNetworkPolicy
metadata: {name: p}
spec: {endpointSelector: {}, ingress: [{}]}
"""


def validate(path: Path, text: str, *words: str) -> Result:
    file = path / "p.yaml"
    file.write_text(text)
    run = CliRunner().invoke(
        cilia, ["policy", "validate", str(file), *words], standalone_mode=False
    )
    assert run.exception is None or isinstance(run.exception, ClientError)
    return run


def test_validate_tells_errors_from_warnings(tmp_path: Path) -> None:
    good = validate(tmp_path, GOOD)
    assert (good.return_value, good.output) == (0, "1 policy: valid\n")
    odd = validate(tmp_path, GOOD.replace("[{}]", "[{}, {}]"))
    assert odd.return_value == 0
    assert "p.yaml:4: warning: " in odd.output
    assert odd.output.endswith("1 policy: 2 warnings\n")
    bad = validate(tmp_path, GOOD.replace("ingress", "ingres"))
    assert bad.return_value == 1
    assert "did you mean ingress?" in bad.output
    (told,) = json.loads(validate(tmp_path, GOOD.replace("ingress", "x"), "-o", "json").output)
    assert (told["severity"], told["path"]) == ("error", "spec.x")


def test_validate_refuses_what_holds_no_policy_or_is_no_yaml(tmp_path: Path) -> None:
    for text, words in (("kind: Pod", "no policy in"), ("a: [", "not YAML")):
        assert words in str(validate(tmp_path, text).exception)


def test_validate_reads_what_is_piped_in() -> None:
    done = CliRunner().invoke(cilia, ["policy", "validate", "-"], input=GOOD)
    assert done.output == "1 policy: valid\n"
