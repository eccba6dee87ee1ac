"""What the agent did, as `cilia hubble observe agent-events` tells it, through kills of both."""

import json
import os
import signal

from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import POLICY

NODE = "node-1"
NAME = "told"
NAMED = f"policy.name={NAME}"


def told(lab: RunningLab, kind: str, *words: str) -> int:
    """How many of the agent's events are of a kind and hold some words."""
    done = lab.cilia("hubble", "observe", "agent-events", "--first", "10000", "-o", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    fitting = [one["agent_event"] for one in events if one["agent_event"]["type"] == kind]
    return sum(all(word in json.dumps(one) for word in words) for one in fitting)


def pid(lab: RunningLab, program: str) -> int:
    found = json.loads(lab.lab("status", "-o", "json").stdout)["programs"]
    return int(next(one["pid"] or 0 for one in found if one["name"] == program))


def test_policies_and_endpoints_are_told_and_outlive_the_observer(lab: RunningLab) -> None:
    # A name of its own: what an earlier agent did, a new observer cannot know.
    mine = POLICY.read_text().replace("rule1", NAME)
    assert lab.kubectl("apply", "-f", "-", text=mine).returncode == 0
    try:
        wait_for("the policy is told", lambda: bool(told(lab, "POLICY_UPDATED", NAMED)))
    finally:
        assert lab.kubectl("delete", "cnp", NAME).returncode == 0
    wait_for("its end is told", lambda: bool(told(lab, "POLICY_DELETED", NAMED)))
    assert told(lab, "ENDPOINT_CREATED", '"xwing"')
    assert told(lab, "SERVICE_UPSERTED", '"deathstar"')
    os.kill(pid(lab, f"{NODE}/observer"), signal.SIGKILL)
    wait_for("another observer has it too", lambda: bool(told(lab, "POLICY_DELETED", NAMED)))
    assert told(lab, "AGENT_STARTED") == 1
