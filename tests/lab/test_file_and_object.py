"""A policy in a file and an applied object of the same name: two policies, both in force."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cilia.kernel import netns
from lab.bare_lab import BareLab, bare_lab
from lab.running_lab import wait_for
from lab.traffic import Pod

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


GROUP = """\
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata:
  name: resolvers
spec:
  externalCIDRs: [1.1.1.0/24, "2606:4700:4700::/64"]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: out
spec:
  endpointSelector: {matchLabels: {app: out}}
  egress:
  - toCIDRSet:
    - cidrGroupRef: resolvers
"""
WORLD = ("1.1.1.1", "2606:4700:4700::1111")


def reaches_world(pod: Pod) -> list[bool]:
    """Whether new connections to the world get through, over IPv4 and over IPv6."""
    found = []
    for family, address in zip((socket.AF_INET, socket.AF_INET6), WORLD, strict=True):
        with netns.open_socket(pod.netns, family, socket.SOCK_STREAM) as one:
            one.settimeout(0.5)
            found.append(one.connect_ex((address, 80)) == 0)
    return found


def test_a_broken_file_is_shown_until_it_is_repaired_and_what_it_said_stays(
    own: BareLab, folder: Path
) -> None:
    pod = own.connect("out", {"app": "out"})
    assert reaches_world(pod) == [True, True]
    file = folder / "out.yaml"
    file.write_text(GROUP.replace("1.1.1.0/24", "192.0.2.0/24"))
    wait_for("the group has IPv6 alone", lambda: reaches_world(pod) == [False, True])
    assert own.cilia("status").returncode == 0

    file.write_text(GROUP.replace("toCIDRSet", "toCIDRSets"))
    wait_for("status says it", lambda: "policy-files" in own.cilia("status", "--brief").stdout)
    done = own.cilia("status")
    assert done.returncode == 1
    line = next(line for line in done.stdout.splitlines() if line.startswith("Policy files:"))
    assert f"Warning  refused: {file}:15: CiliumNetworkPolicy default/out (file): " in line
    assert "did you mean toCIDRSet?" in line
    shown = own.cilia("policy", "list").stdout
    told = next(line for line in shown.splitlines() if line.startswith("File "))
    assert f"{file}:15" in told
    assert "did you mean toCIDRSet?" in told
    assert reaches_world(pod) == [False, True]

    file.write_text(GROUP)
    wait_for("repaired, it says more", lambda: reaches_world(pod) == [True, True])
    wait_for("and status is well", own.is_well)
    assert "File " not in own.cilia("policy", "list").stdout
    file.write_text(GROUP.replace("name: resolvers", "name: gone"))
    wait_for("without its group nothing is open", lambda: reaches_world(pod) == [False, False])
    file.unlink()
    wait_for("without the file it is open", lambda: reaches_world(pod) == [True, True])


def enforced(lab: BareLab) -> str:
    """What `kubectl get cnp` shows."""
    found = lab.json("get", "cnp", "same")
    return str((found.get("status") or {}).get("enforced"))
