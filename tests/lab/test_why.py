"""`cilia why` on the Star Wars policy: what it says is what the ships meet."""

import json
from typing import Any

from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import TIMED_OUT, land

ALLIANCE = {"matchLabels": {"org": "alliance"}}


def asked(lab: RunningLab, *words: str) -> Any:
    """`cilia why … -o json`."""
    done = lab.cilia("why", *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_answer_is_what_the_ships_meet(enforced: RunningLab) -> None:
    lab = enforced
    allowed = asked(lab, "tiefighter", "deathstar:80")
    assert allowed["answer"] == "ALLOWED by CiliumNetworkPolicy default/rule1"
    assert land(lab, "tiefighter").stdout.strip() == "Ship landed"

    lines = lab.cilia("why", "xwing", "deathstar:80").stdout.splitlines()
    assert lines[0].startswith("DENIED by CiliumNetworkPolicy default/rule1: closes ingress of")
    assert any("leads to" in line for line in lines)
    assert land(lab, "xwing", patience_s=2).returncode == TIMED_OUT


def test_the_change_that_it_names_lets_the_ship_land(enforced: RunningLab) -> None:
    lab = enforced
    (change,) = asked(lab, "xwing", "deathstar:80")["changes"]
    assert (change["path"], change["value"]) == ("spec.ingress[0].fromEndpoints", ALLIANCE)
    policy = lab.json("get", "cnp", change["name"])
    policy["spec"]["ingress"][0]["fromEndpoints"].append(change["value"])
    done = lab.kubectl("apply", "-f", "-", text=json.dumps(policy))
    assert done.returncode == 0, done.stderr
    wait_for("xwing is allowed", lambda: bool(asked(lab, "xwing", "deathstar:80")["allowed"]))
    assert land(lab, "xwing").stdout.strip() == "Ship landed"


def test_an_event_is_explained(enforced: RunningLab) -> None:
    lab = enforced
    ip = {name: _address(entry) for name, entry in lab.endpoints().items()}
    target = next(name for name in ip if "deathstar" in name)
    event = {
        "type": "drop",
        "source": {"ip": ip["default/xwing"], "port": 40000, "pod": "default/xwing"},
        "destination": {"ip": ip[target], "port": 80, "pod": ""},
        "protocol": "tcp",
    }
    answer = asked(lab, "--event", json.dumps(event))
    assert answer["answer"].startswith("DENIED by CiliumNetworkPolicy default/rule1")
    assert target in answer["to"]


def _address(entry: Any) -> str:
    return str(entry["status"]["networking"]["addressing"][0]["ipv4"])
