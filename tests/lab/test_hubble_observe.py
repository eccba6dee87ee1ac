"""`cilia hubble observe` after the Star Wars walk: who landed, who did not, and why."""

import json
import re
from datetime import UTC, datetime

from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import POLICY, TIMED_OUT, deathstars_enforced, land

STAMP = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d\.\d{3}"
DROPPED = re.compile(
    rf"{STAMP}: default/xwing:\d+ \(ID:\d+\) <> default/deathstar-\S+:80 \(ID:\d+\) "
    r"Policy denied DROPPED \(TCP Flags: SYN\)"
)
CLOSED = re.compile(r" \| closed by CiliumNetworkPolicy default/rule1 .*\(cnp/default/rule1:\d+\)$")
NO_RULE = " policy-verdict:none INGRESS DENIED (TCP Flags: SYN)"
ALLOWED = re.compile(
    rf"{STAMP}: default/tiefighter:\d+ \(ID:\d+\) -> default/deathstar-\S+:80 \(ID:\d+\) "
    r"policy-verdict:L3-L4 INGRESS ALLOWED \(TCP Flags: SYN\) "
    r"\| allowed by CiliumNetworkPolicy default/rule1 \S*ingress\[0\] \(cnp/default/rule1:\d+\)"
)
REPLY = re.compile(
    r": default/tiefighter:\d+ \(ID:\d+\) <- default/deathstar-\S+:80 \(ID:\d+\) "
    r"to-endpoint FORWARDED \(TCP Flags: SYN, ACK\)$"
)


def test_the_walk_is_observed(lab: RunningLab) -> None:
    begun = datetime.now(UTC).isoformat()
    try:
        done = lab.kubectl("apply", "-f", str(POLICY))
        assert done.returncode == 0, done.stderr
        wait_for("both deathstars enforce ingress", lambda: deathstars_enforced(lab))
        assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
        assert land(lab, "xwing", patience_s=2).returncode == TIMED_OUT
        drops_are_seen(lab, begun)
        verdicts_name_their_rule(lab, begun)
        every_verdict_is_seen(lab, begun)
        outputs_agree(lab, begun)
    finally:
        lab.kubectl("delete", "cnp", "rule1", "--ignore-not-found")


def observe(lab: RunningLab, *words: str) -> list[str]:
    """The lines of `cilia hubble observe …`."""
    done = lab.cilia("hubble", "observe", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def drops_are_seen(lab: RunningLab, begun: str) -> None:
    ship = ("--from-pod", "xwing", "--since", begun)
    words = (*ship, "--type", "drop", "--drop-reason-desc", "POLICY_DENIED")
    wait_for("the x-wing's drop is there", lambda: bool(observe(lab, *words)))
    plain, told = observe(lab, *words)[-1], observe(lab, *words, "--why")[-1]
    assert DROPPED.fullmatch(plain), plain
    assert DROPPED.match(told), told
    assert CLOSED.search(told), told
    verdict = observe(lab, *ship, "--type", "policy-verdict", "--verdict", "DROPPED")
    assert verdict[-1].endswith(NO_RULE), verdict


def verdicts_name_their_rule(lab: RunningLab, begun: str) -> None:
    words = ("--from-pod", "tiefighter", "--to-port", "80", "--type", "policy-verdict", "--why")
    words += ("--since", begun)
    wait_for("the verdict is there", lambda: bool(observe(lab, *words, "--first", "1")))
    lines = observe(lab, *words)
    assert any(ALLOWED.fullmatch(line) for line in lines), lines
    lines = observe(lab, "--pod", "tiefighter", "--pod", "deathstar", "--all")
    assert any(REPLY.search(line) for line in lines), lines


def every_verdict_is_seen(lab: RunningLab, begun: str) -> None:
    """But AUDIT, which tests/lab/test_audit.py provokes, and those of layer 7."""
    for verdict, ship in (
        ("FORWARDED", "tiefighter"),
        ("DROPPED", "xwing"),
        ("TRACED", "tiefighter"),
        ("TRANSLATED", "tiefighter"),
    ):
        words = ("--verdict", verdict, "--from-pod", ship, "--since", begun, "-o", "json")
        found = [json.loads(line)["flow"] for line in observe(lab, *words)]
        assert {flow["verdict"] for flow in found} == {verdict}
        assert {flow["source"]["pod_name"] for flow in found} == {ship}


def outputs_agree(lab: RunningLab, begun: str) -> None:
    """Of the flows since the walk began: others have used this lab before."""
    words = ("--from-pod", "xwing", "--drop-reason-desc", "POLICY_DENIED", "--type", "drop")
    words += ("--since", begun)
    (line,) = observe(lab, *words, "--first", "1", "-o", "json")
    flow = json.loads(line)["flow"]
    assert (flow["verdict"], flow["event_type"]) == ("DROPPED", {"type": 1, "sub_type": 133})
    assert flow["ingress_denied_by"][0]["name"] == "rule1"
    told = [part.strip() for part in observe(lab, *words, "--first", "1", "-o", "dict")]
    assert "TYPE: Policy denied" in told
    titles, row = observe(lab, *words, "--first", "1", "-o", "table")
    assert titles.startswith("TIMESTAMP")
    assert next(part for part in told if part.startswith("SOURCE: ")).split()[1] in row
    top = observe(lab, *words, "--top", "1", "--by", "verdict,policy")
    assert top[-1].split()[2:] == ["DROPPED", "CiliumNetworkPolicy", "default/rule1"]
    status = lab.cilia("hubble", "status")
    assert ": Ok" in status.stdout, status.stderr
    namespaces = lab.cilia("hubble", "list", "namespaces").stdout.splitlines()
    assert "default" in namespaces
