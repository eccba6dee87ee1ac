"""The Star Wars walk in Hubble's metrics: numbers, names of pods and policies, changes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cilia.hubble.proto.flow import flow_pb2
from lab.running_lab import RunningLab, wait_for
from lab.test_hubble import flows
from lab.test_star_wars import TIMED_OUT, land

URL = "http://127.0.0.1:9965/metrics"
ONLY_FLOWS = """
metrics:
- name: flow
  contextOptions:
  - {name: labelsContext, values: [source_workload, source_ip, traffic_direction]}
  includeFilters:
  - source_pod: [default/xwing]
"""


def scraped(lab: RunningLab, name: str, **wanted: str) -> dict[tuple[str, ...], float]:
    """The series of one metric with some labels, by the values of the others in order."""
    inside = ["ip", "netns", "exec", f"cilia-{lab.name}-node-1"]
    text = subprocess.run([*inside, "curl", "-sS", URL], capture_output=True, text=True, check=True)
    found = {}
    for family in text_string_to_metric_families(text.stdout):
        for one in family.samples:
            if one.name == name and wanted.items() <= one.labels.items():
                left = {key: value for key, value in one.labels.items() if key not in wanted}
                found[tuple(left[key] for key in sorted(left))] = one.value
    return found


@pytest.fixture
def metrics_file(lab: RunningLab) -> Iterator[Path]:
    """What is counted; as it was, afterwards."""
    path = Path(f"/var/lib/cilia/lab/{lab.name}/hubble-metrics.yaml")
    before = path.read_text()
    yield path
    path.write_text(before)
    wait_for("the file is in force again", lambda: is_valid(lab) and has_series(lab, "drop"))


def is_valid(lab: RunningLab) -> bool:
    """Whether the file is in force."""
    return set(scraped(lab, "hubble_metrics_config_valid").values()) == {1}


def has_series(lab: RunningLab, plugin: str) -> bool:
    """Whether a metric is configured."""
    return bool(scraped(lab, "hubble_metrics_series", metric=f"hubble_{plugin}_total"))


def drops(lab: RunningLab) -> tuple[int, int]:
    """Denied packets of xwing to the deathstar: as flows, and as the metric has them."""
    only = {
        "source_pod": ["default/xwing"],
        "destination_pod": ["default/deathstar-"],
        "event_type": [flow_pb2.EventTypeFilter(type=1)],
        "drop_reason_desc": [flow_pb2.POLICY_DENIED],
        "protocol": ["tcp"],
    }
    wanted = {"reason": "POLICY_DENIED", "protocol": "TCP", "source": "default/xwing"}
    counted = {
        labels: count
        for labels, count in scraped(lab, "hubble_drop_total", **wanted).items()
        if labels[0].startswith("default/deathstar-")
    }
    assert {labels[1:] for labels in counted} <= {("default", "deathstar", "default", "xwing")}
    return len(flows(lab, **only)), int(sum(counted.values()))


def test_the_walk_is_counted_by_pod_by_policy_and_by_workload(enforced: RunningLab) -> None:
    lab = enforced
    before = drops(lab)
    assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
    assert land(lab, "xwing", patience_s=2).returncode == TIMED_OUT

    def new_drops() -> tuple[int, int]:
        seen, counted = drops(lab)
        return seen - before[0], counted - before[1]

    wait_for("every drop that is seen is counted", lambda: new_drops()[0] == new_drops()[1] > 0)

    rule = {"kind": "CiliumNetworkPolicy", "namespace": "default", "policy": "rule1"}
    named = scraped(lab, "hubble_policy_verdicts_by_policy_total", direction="ingress", **rule)
    assert named.keys() == {("forwarded",), ("dropped",)}
    verdicts = scraped(lab, "hubble_policy_verdicts_total", direction="ingress", action="dropped")
    assert verdicts[("none",)] >= named[("dropped",)] > 0

    def moved() -> float:
        wanted = {"namespace": "default", "workload": "deathstar", "kind": "Deployment"}
        return scraped(lab, "hubble_workload_bytes_total", **wanted).get(("sent",), 0)

    wait_for("what the deathstar answered is harvested", lambda: moved() > 200)
    assert set(scraped(lab, "hubble_lost_events_total")) >= {("perf_event_ring_buffer",)}


def test_what_is_counted_changes_while_it_runs(lab: RunningLab, metrics_file: Path) -> None:
    metrics_file.write_text(ONLY_FLOWS)
    wait_for("drops are not counted", lambda: not has_series(lab, "drop"))
    for pod in ("xwing", "tiefighter"):
        land(lab, pod, patience_s=1)

    def counted() -> set[str]:
        """Workloads that sent; labels: protocol, source_ip, source_workload, …"""
        return {labels[2] for labels in scraped(lab, "hubble_flows_processed_total")}

    wait_for("flows of xwing are counted", lambda: counted() == {"xwing"})
    metrics_file.write_text("metrics: [{name: flwo}]")
    wait_for("the mistake is told", lambda: not is_valid(lab))
    assert counted() == {"xwing"}
    log = Path(f"/var/lib/cilia/lab/{lab.name}/log/node-1-observer.log").read_text()
    assert f"{metrics_file}: metric 'flwo' is unknown; there are dns, drop, flow" in log
