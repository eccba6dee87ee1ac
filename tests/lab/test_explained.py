"""A drop from the kernel to its explanation: monitor, `why --event -`, `policy stats`."""

import json
import os
import signal
import subprocess
from typing import Any

from lab.running_lab import RunningLab, cilia_command, wait_for
from lab.test_agent import agent_pid, is_well
from lab.test_policy_status import rows
from lab.test_star_wars import TIMED_OUT, land


def kubectl_line(lab: RunningLab, words: str) -> int:
    """The line of `kubectl get cnp rule1 -o yaml` that holds some words."""
    lines = lab.kubectl("get", "cnp", "rule1", "-o", "yaml").stdout.splitlines()
    return next(number for number, line in enumerate(lines, 1) if words in line)


def closed(lab: RunningLab) -> Any:
    """What `policy stats` says of the closed direction."""
    return next(rule for rule in rows(lab, "stats")["rules"] if rule["verdict"] == "default-deny")


def test_a_drop_is_seen_explained_and_counted(enforced: RunningLab) -> None:
    lab = enforced
    before = closed(lab)
    monitor = lab.start("monitor", "--type", "drop", "-o", "json")
    try:
        assert monitor.stderr is not None
        assert "Listening" in monitor.stderr.readline()
        assert land(lab, "xwing", patience_s=1).returncode == TIMED_OUT
        assert monitor.stdout is not None
        line = next(line for line in monitor.stdout if "default/xwing" in line)
    finally:
        monitor.terminate()
        monitor.communicate()

    (rule,) = json.loads(line)["policies"]
    place = f"cnp/default/rule1:{kubectl_line(lab, 'spec:')}"
    assert (rule["name"], rule["path"], rule["place"]) == ("rule1", "spec", place)
    told = subprocess.run(
        [*cilia_command(), "why", "--event", "-"],
        input=line, capture_output=True, text=True, env=lab.environment, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert told.startswith("DENIED by CiliumNetworkPolicy default/rule1: closes ingress of")
    assert place in told
    after = closed(lab)
    assert after["packets"] > before["packets"]
    assert after["bytes"] > before["bytes"]
    assert after["last-hit"] is not None
    assert after["place"] == place


def test_counts_outlive_an_agent_that_is_killed(enforced: RunningLab) -> None:
    lab = enforced
    assert land(lab, "tiefighter").returncode == 0
    assert land(lab, "xwing", patience_s=1).returncode == TIMED_OUT
    before, old = rows(lab, "stats"), agent_pid(lab)
    os.kill(old, signal.SIGKILL)
    wait_for("another agent is well", lambda: is_well(lab) and agent_pid(lab) != old)
    after = rows(lab, "stats")
    assert after["since"] == before["since"]
    for was, now in zip(before["rules"], after["rules"], strict=True):
        assert now["path"] == was["path"]
        assert now["connections"] >= was["connections"] > 0 or now["verdict"] != "allow"
        assert now["packets"] >= was["packets"] > 0
