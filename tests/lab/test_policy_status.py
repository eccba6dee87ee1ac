"""What a policy's author sees: kubectl's columns, `cilia policy list`, `validate`, `stats`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cilia.datapath import layout
from cilia.kernel.maps import Map
from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import POLICY, land

ODD = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: odd}
spec:
  endpointSelector: {matchLabels: {class: nobody}}
  ingress:
    - fromEndpoints: [{matchLabels: {"k8:class": xwing}}]
"""


@pytest.fixture
def enforced(lab: RunningLab) -> Iterator[RunningLab]:
    """The lab with the walk's policy in force."""
    done = lab.kubectl("apply", "-f", str(POLICY))
    assert done.returncode == 0, done.stderr
    try:
        wait_for("kubectl shows it enforced", lambda: columns(lab, "rule1")[-2:] == ["True", "2/2"])
        yield lab
    finally:
        lab.kubectl("delete", "cnp", "--all")
        wait_for("no policy is left", lambda: rows(lab, "list") == [])


def columns(lab: RunningLab, name: str) -> list[str]:
    """What `kubectl get cnp` prints of one policy."""
    lines = lab.kubectl("get", "cnp").stdout.splitlines()
    assert not lines or lines[0].split()[-2:] == ["VALID", "ENFORCED"]
    return next((line.split() for line in lines if line.startswith(f"{name} ")), [])


def rows(lab: RunningLab, word: str) -> Any:
    """What `cilia policy WORD -o json` prints."""
    done = lab.cilia("policy", word, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_policy_says_how_far_it_is_enforced(enforced: RunningLab) -> None:
    (row,) = rows(enforced, "list")
    assert (row["name"], row["valid"], row["enforced"], row["selected"]) == ("rule1", True, 2, 2)
    wide = enforced.cilia("policy", "list", "-o", "wide").stdout
    assert wide.count("default/deathstar-") == 2
    assert "not enforced" not in wide
    held = enforced.json("get", "cnp", "rule1")
    (part,) = held["status"]["nodes"].values()
    assert (part["endpoints"], part["enforced"]) == (2, 2)
    assert part["observedGeneration"] == held["metadata"]["generation"]
    version = held["metadata"]["resourceVersion"]
    assert land(enforced, "tiefighter").returncode == 0
    again = enforced.json("get", "cnp", "rule1")["metadata"]["resourceVersion"]
    assert again == version, "nothing is written when nothing has changed"


def test_an_endpoint_that_the_kernel_keeps_behind_is_named(enforced: RunningLab) -> None:
    lab = enforced
    key, value = layout.map_types("endpoint")
    folder = Path(f"/sys/fs/bpf/cilia/{lab.name}/node-1/maps")
    with Map.open(folder / "endpoint", key, value) as endpoints:
        name = next(name for name in lab.endpoints() if "deathstar" in name)
        number = lab.endpoints()[name]["id"]
        keys, held = endpoints.entries()
        (place,) = (held["id"] == number).nonzero()[0]
        behind = held[place].copy()
        behind["policy"] = 1_000_000  # As if the kernel had never taken the new number.
        endpoints.update(keys[place], behind)
        try:
            told = lab.cilia("policy", "list").stdout
            assert f"not enforced by {name}: the kernel holds an earlier policy" in told
            wait_for("kubectl shows 1/2", lambda: columns(lab, "rule1")[-1] == "1/2")
            (part,) = lab.json("get", "cnp", "rule1")["status"]["nodes"].values()
            assert part["missing"] == [name]
            assert f"not enforced by {name}" in lab.kubectl("describe", "cnp", "rule1").stdout
        finally:
            endpoints.update(keys[place], held[place])
    assert lab.cilia("policy", "list").returncode == 0
    wait_for("kubectl shows 2/2", lambda: columns(lab, "rule1")[-1] == "2/2")


def test_an_odd_policy_is_valid_and_warned_about(enforced: RunningLab) -> None:
    done = enforced.kubectl("apply", "-f", "-", text=ODD)
    assert done.returncode == 0, done.stderr
    wait_for("it selects nobody", lambda: columns(enforced, "odd")[-2:] == ["True", "0/0"])
    told = enforced.json("get", "cnp", "odd")["status"]["conditions"]
    warning = next(each for each in told if each["type"] == "Warning")
    assert "did you mean k8s:class?" in warning["message"]
    assert "did you mean k8s:class?" in enforced.cilia("policy", "list").stdout

    def described() -> str:
        return enforced.kubectl("describe", "cnp", "odd").stdout.partition("Events:")[2]

    wait_for("an event tells it", lambda: "PolicySuspicious" in described())
    assert "did you mean k8s:class?" in described()


def test_the_rules_count_what_they_let_through(enforced: RunningLab) -> None:
    def rule() -> Any:
        found, closed = rows(enforced, "stats")["rules"]
        assert closed["verdict"] == "default-deny"
        return found

    before = rule()
    assert land(enforced, "tiefighter").returncode == 0
    after = rule()
    assert after["path"] == "spec.ingress[0]"
    assert after["connections"] > before["connections"]
    assert after["packets"] >= before["packets"] + 8
    assert after["last-hit"] is not None
    shown = enforced.cilia("policy", "stats").stdout.splitlines()
    assert "spec.ingress[0]" in shown[1]
    assert "never" not in shown[1]
    unused = enforced.cilia("policy", "stats", "--unused", "-o", "jsonpath={.rules[*].path}")
    assert unused.stdout.strip() == ""


def test_a_file_is_judged_before_it_is_applied(lab: RunningLab, tmp_path: Path) -> None:
    assert lab.cilia("policy", "validate", str(POLICY)).returncode == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text(ODD.replace("fromEndpoints", "fromEndpoint"))
    done = lab.cilia("policy", "validate", str(bad))
    assert done.returncode == 1
    assert f"{bad}:8: error: " in done.stdout
    assert "did you mean fromEndpoints?" in done.stdout


def test_rules_that_conflict_are_shown(enforced: RunningLab) -> None:
    assert rows(enforced, "conflicts") == []
    assert enforced.kubectl("apply", "-f", "-", text=ODD).returncode == 0
    wait_for("it is judged", lambda: columns(enforced, "odd")[-2:] == ["True", "0/0"])
    (found,) = rows(enforced, "conflicts")
    assert (found["kind"], found["rule"]["name"]) == ("dead", "odd")
    assert "1 conflict among 2 rules" in enforced.cilia("policy", "conflicts").stdout
