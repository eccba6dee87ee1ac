"""Metrics of a lab, scraped by Debian's Prometheus and read as its users read them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from cilia.agent.metrics.families import FAMILIES
from deploy.panels import panel_expressions
from lab.prometheus import PORTS, Prometheus, prometheus
from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import POLICY, TIMED_OUT, deathstars_enforced, land

NODE = "172.30.0.11"
"""The first node of every lab."""
OPEN = "Accept: application/openmetrics-text;version=1.0.0"


@pytest.fixture(scope="module")
def walked(lab: RunningLab) -> Iterator[RunningLab]:
    """The lab after the Star Wars walk, with the policy in force."""
    done = lab.kubectl("apply", "-f", str(POLICY))
    assert done.returncode == 0, done.stderr
    try:
        wait_for("both deathstars enforce ingress", lambda: deathstars_enforced(lab))
        assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
        assert land(lab, "xwing", patience_s=2).returncode == TIMED_OUT
        # Whoever asks for the counts of rules has them taken in now.
        assert lab.cilia("policy", "stats").returncode == 0
        yield lab
    finally:
        lab.kubectl("delete", "cnp", "rule1", "--ignore-not-found")


@pytest.fixture(scope="module")
def scraper(walked: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the node's agent and observer."""
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(f"cilia-{walked.name}-net", folder, NODE) as running:
        yield running


def label(found: dict[tuple[tuple[str, str], ...], float], name: str) -> set[str]:
    return {dict(labels).get(name, "") for labels in found}


def test_both_targets_are_up_and_no_alert_of_the_datapath_fires(scraper: Prometheus) -> None:
    def up() -> set[str]:
        return {
            target["labels"]["job"]
            for target in scraper.ask("targets")["activeTargets"]
            if target["health"] == "up"
        }

    wait_for("both targets are up", lambda: up() == set(PORTS))
    firing = {alert["labels"]["alertname"] for alert in scraper.ask("alerts")["alerts"]}
    assert not firing & {"CiliaMapFull", "CiliaPolicyWritesFail", "CiliaAgentRestarts"}


def test_verdicts_are_told_by_the_policys_name(scraper: Prometheus) -> None:
    query = 'cilium_policy_verdict_packets_total{policy="rule1"}'

    def verdicts() -> set[str]:
        found = scraper.values(query)
        return label({labels: n for labels, n in found.items() if n}, "verdict")

    wait_for("rule1 has let through and denied", lambda: verdicts() == {"allow", "default-deny"})
    assert label(scraper.values(query), "namespace") == {"default"}
    dropped = scraper.values('cilium_drop_count_total{direction="INGRESS"}')
    assert dropped[("direction", "INGRESS"), ("reason", "Policy denied")] >= 1


def test_drops_are_told_by_the_pods_names(scraper: Prometheus) -> None:
    def found() -> bool:
        drops = scraper.values('hubble_drop_total{reason="POLICY_DENIED"}')
        return any("xwing" in value for labels in drops for _, value in labels)

    wait_for("the drop of xwing", found)


def test_bytes_are_told_by_the_workloads_names(scraper: Prometheus) -> None:
    def sent() -> set[str]:
        found = scraper.values('hubble_workload_bytes_total{direction="sent"} > 0')
        return label(found, "workload")

    wait_for("bytes of pods", lambda: {"tiefighter", "deathstar"} <= sent())


def test_every_panel_that_this_lab_can_fill_finds_something(scraper: Prometheus) -> None:
    def answers(expression: str) -> bool:
        data = scraper.ask("query", query=expression)
        assert data is not None, f"not understood: {expression}"
        return bool(data["result"])

    asked = panel_expressions()

    def most_are_filled() -> bool:
        return sum(answers(expression) for _, expression in asked) > len(asked) * 3 / 4

    wait_for("most panels find something", most_are_filled)


def test_both_formats_are_valid_and_every_map_is_there(
    walked: RunningLab, scraper: Prometheus
) -> None:
    for port in PORTS.values():
        url = f"http://{NODE}:{port}/metrics"
        assert list(text_string_to_metric_families(scraper.get(url, "-H", OPEN)))
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=scraper.get(url),
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
    maps = {path.name for path in Path(f"/sys/fs/bpf/cilia/{walked.name}/node-1/maps").iterdir()}
    pressure = scraper.values("cilium_bpf_map_pressure")
    assert label(pressure, "map_name") == maps
    assert all(0 <= value < 0.9 for value in pressure.values())


def test_the_command_lists_what_a_scrape_gets(walked: RunningLab, scraper: Prometheus) -> None:
    done = walked.cilia("metrics", "list", "-o", "json")
    assert done.returncode == 0, done.stderr
    listed = {one["name"] for one in json.loads(done.stdout)}
    text = scraper.get(f"http://{NODE}:9962/metrics")
    assert listed == {line.split("{")[0].split()[0] for line in text.splitlines() if line[0] != "#"}
    ours = {name for name, one in FAMILIES.items() if one.is_on and one.kind != "histogram"}
    rare = {"cilium_ipcache_errors_total", "cilium_feature_network_policies_cidr_policies"}
    assert ours - listed <= rare
    table = walked.cilia("metrics", "list", "-p", "verdict_packets").stdout
    assert "policy=rule1" in table
    denied = ["Policy", "denied", "INGRESS"]
    rows = walked.cilia("bpf", "metrics", "list").stdout.splitlines()
    assert denied in [row.split()[:3] for row in rows]
