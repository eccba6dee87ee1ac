"""Rules, dashboards, runbook: what they ask for is there, and alerts do what they say."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cilia.agent.metrics.families import FAMILIES
from deploy.panels import DASHBOARDS, panel_expressions

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yaml"
RUNBOOK = ROOT / "docs/handbook/alerts.md"

_NAME = re.compile(r"\b(?:cilium|cilia|hubble)_[a-z0-9_]+|\bup\b")
_HUBBLE_NAME = re.compile(r'"((?:hubble|cilia)_[a-z0-9_]+)"')


def promtool(*words: str) -> str:
    """What promtool says; it must be content."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def served() -> set[str]:
    """Every name of a series that an agent or an observer can serve."""
    folder = ROOT / "src/cilia/hubble/metrics"
    text = "\n".join(path.read_text() for path in folder.glob("*.py"))
    hubble = set(_HUBBLE_NAME.findall(text))
    agent = {
        f"{one.name}{ending}"
        for one in FAMILIES.values()
        for ending in (("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",))
    }
    timed = {f"{name}{ending}" for name in hubble for ending in ("_bucket", "_sum", "_count")}
    return {"up"} | agent | hubble | timed


def test_rules_and_the_configuration_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))
    promtool("check", "config", str(RULES.with_name("scrape.yaml")))


def test_alerts_fire_when_they_should_and_only_then() -> None:
    path = RULES.with_name("rules_test.yaml")
    assert "SUCCESS" in promtool("test", "rules", str(path))
    cases = [
        case
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    tried = {case["alertname"] for case in cases if case.get("exp_alerts")}
    assert tried == {rule["alert"] for rule in rules()}


def test_every_expression_of_a_dashboard_is_understood(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(panel_expressions())
    ]
    assert recorded
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    promtool("check", "rules", str(path))


@pytest.mark.parametrize(
    ("place", "expression"),
    [*panel_expressions(), *((rule["alert"], rule["expr"]) for rule in rules())],
)
def test_every_series_that_is_asked_for_is_served(place: str, expression: str) -> None:
    names = set(_NAME.findall(expression))
    assert names, f"{place} asks for nothing of ours"
    assert names <= served(), place


def test_labels_of_the_agents_series_are_those_that_they_have() -> None:
    everywhere = {"instance", "job", "le"}
    for place, expression in panel_expressions():
        for name, matchers in re.findall(r"(cilium_[a-z0-9_]+)\{([^}]*)\}", expression):
            family = FAMILIES.get(name) or FAMILIES[name.removesuffix("_bucket")]
            used = set(re.findall(r"([a-z_]+)[!=]", matchers))
            assert used <= {*family.labels, *everywhere}, place


def test_every_alert_says_what_is_wrong_and_has_a_page_of_the_runbook() -> None:
    headings = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE))
    alerts = {rule["alert"] for rule in rules()}
    assert headings == alerts
    for rule in rules():
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"].endswith(f"alerts.md#{rule['alert'].lower()}")
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_panels_do_not_overlap_and_stay_in_the_grid() -> None:
    for path in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text())["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert max(x for x, _ in cells) < 24
            assert not cells & taken, f"{path.stem}: {panel['title']}"
            taken |= cells
