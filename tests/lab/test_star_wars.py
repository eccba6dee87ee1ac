"""The README's walk, with stock kubectl and our commands, step by step."""

import json
import subprocess
import threading
from importlib import resources
from typing import Any

from lab.running_lab import Done, RunningLab, wait_for

POLICY = resources.files("cilia.lab") / "demo" / "starwars-policy.yaml"
LANDING = "deathstar.default.svc.cluster.local/v1/request-landing"
TIMED_OUT = 28
"""curl's exit code, and kubectl's with it."""


def land(lab: RunningLab, ship: str, *, patience_s: int = 10) -> Done:
    """`kubectl exec SHIP -- curl -s -XPOST deathstar…`."""
    words = ("curl", "-s", "--max-time", str(patience_s), "-XPOST", LANDING)
    return lab.kubectl("exec", ship, "--", *words)


def policy_state(lab: RunningLab) -> dict[str, Any]:
    """Which direction each pod's policy is enforced in, by pod."""
    return {
        name: entry["status"]["policy"]["realized"]["policy-enabled"]
        for name, entry in lab.endpoints().items()
    }


def deathstars_enforced(lab: RunningLab) -> bool:
    states = {name: state for name, state in policy_state(lab).items() if "deathstar" in name}
    return list(states.values()) == ["ingress"] * 2


def test_the_walk(lab: RunningLab) -> None:
    step_1_everything_is_there(lab)
    step_2_both_ships_land(lab)
    try:
        step_3_the_policy_is_taken(lab)
        step_4_only_the_empire_lands(lab)
    finally:
        deleted = lab.kubectl("delete", "cnp", "rule1", "--ignore-not-found")
    assert deleted.returncode == 0, deleted.stderr
    step_5_both_ships_land_again(lab)


def step_1_everything_is_there(lab: RunningLab) -> None:
    done = lab.kubectl("get", "pods,svc")
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert sum(row.startswith("pod/deathstar-") and "1/1" in row for row in rows) == 2
    for ship in ("tiefighter", "xwing"):
        assert any(row.startswith(f"pod/{ship} ") and "Running" in row for row in rows)
    assert any(row.startswith("service/deathstar ") and "80/TCP" in row for row in rows)
    pods = lab.json("get", "pods", "-A")["items"]
    names = {f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in pods}
    states = policy_state(lab)
    assert set(states) == names
    assert set(states.values()) == {"none"}
    table = lab.cilia("endpoint", "list").stdout
    assert "k8s:class=xwing" in table


def step_2_both_ships_land(lab: RunningLab) -> None:
    for ship in ("xwing", "tiefighter"):
        done = land(lab, ship)
        assert done.stdout.strip() == "Ship landed", (ship, done)


def step_3_the_policy_is_taken(lab: RunningLab) -> None:
    done = lab.kubectl("apply", "-f", str(POLICY))
    assert done.returncode == 0, done.stderr
    assert "ciliumnetworkpolicy.cilium.io/rule1 created" in done.stdout
    wait_for("both deathstars enforce ingress", lambda: deathstars_enforced(lab))


def step_4_only_the_empire_lands(lab: RunningLab) -> None:
    assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
    lines: list[str] = []
    with lab.start("monitor", "--type", "drop", "-o", "json") as monitor:
        reader = threading.Thread(target=lambda: lines.extend(monitor.stdout or ()), daemon=True)
        reader.start()
        try:
            wait_for_listening(lab, monitor)
            refused = land(lab, "xwing", patience_s=3)
            assert refused.returncode == TIMED_OUT, refused
            wait_for("xwing's drop is shown", lambda: any("rule1" in line for line in lines))
        finally:
            monitor.terminate()
            reader.join()
    drop = next(json.loads(line) for line in lines if "rule1" in line)
    told = json.dumps(drop)
    for fact in ("Policy denied", "k8s:class=xwing", "k8s:class=deathstar", "rule1", "SYN"):
        assert fact in told, (fact, drop)
    table = lab.cilia("endpoint", "list").stdout
    assert "Enabled" in table


def wait_for_listening(lab: RunningLab, monitor: "subprocess.Popen[str]") -> None:
    """Waits until the monitor is subscribed: it shows the drops of a ship that keeps trying."""
    assert monitor.poll() is None, monitor.communicate()
    land(lab, "xwing", patience_s=1)


def step_5_both_ships_land_again(lab: RunningLab) -> None:
    wait_for("no policy is enforced", lambda: set(policy_state(lab).values()) == {"none"})
    for ship in ("xwing", "tiefighter"):
        assert land(lab, ship).stdout.strip() == "Ship landed"
