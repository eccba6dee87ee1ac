"""The agent's metrics are Cilium's where it counts the same.

`agent_metrics.tsv` holds the facts of the families of Cilium's agent at 1.19.4: name, type,
labels, whether they are served by default, and when ours are there: `now`, or what they wait
for.
"""

import csv
from pathlib import Path

from cilia.agent.metrics.families import FAMILIES

FACTS = Path(__file__).with_name("agent_metrics.tsv")


def facts() -> list[dict[str, str]]:
    with FACTS.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_families_have_the_names_types_labels_and_defaults_of_cilium() -> None:
    wanted = {
        (fact["metric"], fact["type"], fact["labels"], fact["default"])
        for fact in facts()
        if fact["when"] == "now"
    }
    found = {
        (one.name, one.kind, ",".join(one.labels), "on" if one.is_on else "off")
        for one in FAMILIES.values()
        if not one.is_ours
    }
    assert found == wanted


def test_families_of_our_own_take_no_name_of_cilium() -> None:
    theirs = {fact["metric"] for fact in facts()}
    ours = {one.name for one in FAMILIES.values() if one.is_ours}
    assert ours
    assert not ours & theirs


def test_every_family_that_is_not_there_waits_for_something() -> None:
    assert all(fact["when"] for fact in facts())
