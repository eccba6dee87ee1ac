"""A policy in a file and an applied object of the same name: two policies, both in force."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.bare_lab import BareLab, bare_lab
from lab.running_lab import wait_for

FILE = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: same
spec:
  endpointSelector: {matchLabels: {app: two}}
  ingress:
  - {}
"""
APPLIED = {"endpointSelector": {"matchLabels": {"app": "one"}}, "ingress": [{}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policies")


@pytest.fixture(scope="module")
def own(kubectl: str, folder: Path) -> Iterator[BareLab]:
    """A lab whose agent reads a folder besides."""
    with bare_lab("f", kubectl, {"CILIA_STATIC_CNP_PATH": str(folder)}) as lab:
        yield lab


def sources(lab: BareLab) -> dict[str, dict[str, Any]]:
    """What `cilia policy list` says of each, by source."""
    done = lab.cilia("policy", "list", "-o", "json")
    assert done.returncode == 0, done.stderr
    return {one["source"]: one for one in json.loads(done.stdout)}


def test_both_count_and_are_shown_apart(own: BareLab, folder: Path) -> None:
    for name in ("one", "two"):
        own.connect(name, {"app": name})
    file = folder / "same.yaml"
    file.write_text(FILE)
    own.apply("same", APPLIED)
    wait_for("the object is in force", lambda: own.enforces("one", "ingress"))
    wait_for("so is the file", lambda: own.enforces("two", "ingress"))
    found = sources(own)
    assert {source: one["pods"] for source, one in found.items()} == {
        "kubernetes": ["default/one"],
        f"{file}:1": ["default/two"],
    }
    told = json.loads(own.cilia("policy", "get", "-o", "json").stdout)["policy"]
    places = [one["metadata"].get("annotations", {}).get("cilia.io/written-in") for one in told]
    assert places == [None, f"{file}:1"]
    wait_for("its status counts its own", lambda: enforced(own) == "1/1")
    own.remove_policy("same")
    wait_for("the object is gone", lambda: own.enforces("one", "none"))
    assert own.enforces("two", "ingress")
    own.apply("same", APPLIED)
    wait_for("and back", lambda: own.enforces("one", "ingress"))
    file.unlink()
    wait_for("the file is gone", lambda: own.enforces("two", "none"))
    assert own.enforces("one", "ingress")
    assert sources(own).keys() == {"kubernetes"}


def enforced(lab: BareLab) -> str:
    """What `kubectl get cnp` shows."""
    found = lab.json("get", "cnp", "same")
    return str((found.get("status") or {}).get("enforced"))
