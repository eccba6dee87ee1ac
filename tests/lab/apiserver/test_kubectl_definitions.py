"""Stock kubectl and resources that a CustomResourceDefinition makes."""

import json

import pytest

from lab.apiserver.manifests import WIDGET, WIDGETS
from lab.kubectl import Kubectl


@pytest.fixture
def widgets(kube: Kubectl) -> Kubectl:
    kube("apply", "-f", "-", stdin=WIDGETS)
    kube("wait", "--for", "condition=Established", "crd/widgets.test.cilia.io")
    return kube


def test_columns_short_names_and_categories(widgets: Kubectl) -> None:
    widgets("apply", "-f", "-", stdin=WIDGET)
    status = {"status": {"conditions": [{"type": "Other"}, {"type": "Valid", "status": "True"}]}}
    words = ("--subresource", "status", "--type", "merge", "-p", json.dumps(status))
    widgets("patch", "wd", "w1", *words)

    lines = widgets("get", "gadgets").splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "VALID", "AGE"]
    assert lines[1].split()[:3] == ["w1", "3", "True"]


def test_defaults_are_filled_in_and_mistakes_refused(widgets: Kubectl) -> None:
    widgets("apply", "-f", "-", stdin=WIDGET)
    wrong = WIDGET.replace("size: 3", "size: 0, colour: green")
    unknown = WIDGET.replace("size: 3", "size: 3, sise: 4")

    assert widgets("get", "wd", "w1", "-o", "jsonpath={.spec.colour}") == "red"
    complaint = widgets.fails("apply", "-f", "-", stdin=wrong)
    assert "spec.size in body should be greater than or equal to 1" in complaint
    assert 'Unsupported value: "green"' in complaint
    assert 'unknown field "spec.sise"' in widgets.fails("apply", "-f", "-", stdin=unknown)
    widgets("apply", "--validate=false", "-f", "-", stdin=unknown)
    assert widgets("get", "wd", "w1", "-o", "jsonpath={.spec.sise}") == ""


def test_explain_scale_and_other_versions(widgets: Kubectl) -> None:
    widgets("apply", "-f", "-", stdin=WIDGET)
    widgets("scale", "wd", "w1", "--replicas", "5")

    assert "How large it is." in widgets("explain", "widget.spec.size")
    assert widgets("get", "wd", "w1", "-o", "jsonpath={.spec.count}") == "5"
    old = json.loads(widgets("get", "widgets.v1beta1.test.cilia.io", "w1", "-o", "json"))
    assert old["apiVersion"] == "test.cilia.io/v1beta1"
    assert old["spec"]["size"] == 3


def test_server_side_apply_merges_lists_by_their_keys(widgets: Kubectl) -> None:
    words = ("apply", "--server-side", "-f", "-", "--field-manager")
    widgets(*words, "one", stdin=WIDGET)
    widgets(*words, "two", stdin=WIDGET.replace("{name: a, weight: 1}", "{name: b}"))

    parts = json.loads(widgets("get", "wd", "w1", "-o", "json"))["spec"]["parts"]
    assert parts == [{"name": "a", "weight": 1}, {"name": "b"}]


def test_a_broken_definition_is_refused(kube: Kubectl) -> None:
    broken = WIDGETS.replace("storage: true", "storage: false").replace(
        "widgets.test", "other.test"
    )

    complaint = kube.fails("apply", "-f", "-", stdin=broken)
    assert 'must be spec.names.plural+"."+spec.group' in complaint
    assert "exactly one version marked as storage version" in complaint
