"""Flows in files: a log that comes while the node runs, and an observer that is killed."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import POLICY, TIMED_OUT, deathstars_enforced, land


@pytest.fixture
def logs(lab: RunningLab) -> Iterator[Path]:
    """The file of logs of the first node; nothing is exported before and afterwards."""
    path = node_run(lab) / "flowlogs.yaml"
    try:
        yield path
    finally:
        path.write_text("flowLogs: []\n")
        wait_for(
            "nothing is exported", lambda: status(lab)["logs"] == [] and not status(lab)["error"]
        )


def node_run(lab: RunningLab) -> Path:
    return Path(f"/run/cilia/lab/{lab.name}/nodes/node-1")


def status(lab: RunningLab) -> dict[str, Any]:
    """What the observer says; nothing before it has said anything."""
    path = node_run(lab) / "hubble-export.json"
    told: dict[str, Any] = {"logs": [], "error": "nothing told yet"}
    return json.loads(path.read_bytes()) if path.exists() else told


def events(path: Path) -> list[dict[str, Any]]:
    """The lines of a log so far, the last of which may be being written."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def landings(path: Path) -> int:
    """Connections that the tiefighter began, as the log has them."""
    return sum(
        flow["source"].get("pod_name") == "tiefighter"
        and flow["destination"].get("pod_name", "").startswith("deathstar")
        and flow["Summary"] == "TCP Flags: SYN"
        for flow in (event["flow"] for event in events(path) if "flow" in event)
    )


def observer(lab: RunningLab) -> int:
    found: int = json.loads((node_run(lab) / "observer.pid").read_bytes())["pid"]
    return found


def test_a_log_that_comes_later_and_outlives_its_observer(
    lab: RunningLab, logs: Path, tmp_path: Path
) -> None:
    path = tmp_path / "audit" / "events.log"
    filters = "{destination_pod: [default/deathstar], event_type: [{type: 4}]}"
    fields = "[source.pod_name, destination.pod_name, Summary, time]"
    logs.write_text(
        f"flowLogs: [{{name: audit, filePath: {path}, includeFilters: [{filters}],"
        f" fieldMask: {fields}}}]\n"
    )
    wait_for("the log is followed", lambda: bool(status(lab)["logs"]))
    assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
    wait_for("the landing is in the log", lambda: landings(path) > 0)
    before = landings(path)

    killed = observer(lab)
    os.kill(killed, signal.SIGKILL)
    with path.open("ab") as end:
        end.write(b'{"flow":{"time":"2026')  # as if it had been in the middle of a line
    landed = land(lab, "tiefighter")  # nobody looks; the rings hold it
    assert landed.stdout.strip() == "Ship landed"
    wait_for("there is another observer", lambda: observer(lab) != killed)
    wait_for("the landing meanwhile is in the log", lambda: landings(path) > before)
    assert path.read_bytes().endswith(b"\n")
    for event in events(path):  # whole lines alone; what was lost with the dead one is a number
        if "lost_events" in event:
            assert int(event["lost_events"]["num_events_lost"]) > 0
            assert event["lost_events"]["source"] == "OBSERVER_EVENTS_QUEUE"
    wait_for("the torn line is told", lambda: status(lab)["logs"][0]["torn_bytes"] == 21)
    assert status(lab)["logs"][0]["error"] == ""


def test_a_log_that_cannot_be_written_is_told_and_harms_nobody(
    lab: RunningLab, logs: Path, tmp_path: Path
) -> None:
    (tmp_path / "in the way").write_text("")
    logs.write_text(f"flowLogs: [{{name: lost, filePath: '{tmp_path}/in the way/a.log'}}]\n")

    def told() -> bool:
        lines = lab.cilia("status").stdout.splitlines()
        return any(line.startswith("Hubble:") and "export fails: lost" in line for line in lines)

    wait_for("status tells", told)
    assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
    assert lab.cilia("hubble", "observe", "--last", "1").stdout


def test_the_monitor_shows_calls_and_news_of_the_agent(lab: RunningLab) -> None:
    monitor = lab.start("monitor", "-t", "agent", "-t", "trace-sock", "-j")
    try:
        assert monitor.stderr is not None
        assert monitor.stdout is not None
        assert "Listening" in monitor.stderr.readline()
        assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
        event = json.loads(monitor.stdout.readline())
        while event["source"].get("pod") != "default/tiefighter":
            event = json.loads(monitor.stdout.readline())
        assert event["type"] == "trace-sock"
        done = lab.kubectl("label", "pod", "xwing", "export-test=yes")
        assert done.returncode == 0, done.stderr
        while event["type"] != "agent":
            event = json.loads(monitor.stdout.readline())
        assert event["message"]
    finally:
        monitor.terminate()
        monitor.communicate()
        lab.kubectl("label", "pod", "xwing", "export-test-")


def test_the_monitor_shows_the_bytes_of_a_dropped_packet(lab: RunningLab) -> None:
    monitor = lab.start("monitor", "-t", "drop", "--hex", "-j")
    try:
        assert monitor.stderr is not None
        assert monitor.stdout is not None
        assert "Listening" in monitor.stderr.readline()
        done = lab.kubectl("apply", "-f", str(POLICY))
        assert done.returncode == 0, done.stderr
        wait_for("both deathstars enforce ingress", lambda: deathstars_enforced(lab))
        assert land(lab, "xwing", patience_s=2).returncode == TIMED_OUT
        event = json.loads(monitor.stdout.readline())
        while event["source"].get("pod") != "default/xwing":
            event = json.loads(monitor.stdout.readline())
        packet = Ether(bytes.fromhex(event["packet"]))
        assert packet[IP].dst == event["destination"]["ip"]
        assert (packet[TCP].dport, str(packet[TCP].flags)) == (80, "S")
        assert len(packet) == event["length"]
    finally:
        monitor.terminate()
        monitor.communicate()
        gone = lab.kubectl("delete", "cnp", "rule1", "--ignore-not-found")
    assert gone.returncode == 0, gone.stderr
