"""Maps that are full: counted, visible, and closed for what found no room."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cilia.kernel import netns
from lab.bare_lab import BareLab, bare_lab
from lab.running_lab import wait_for
from lab.traffic import Pod

PORT = 7779
SIZES = {"endpoint": 6, "endpoint_addr": 12, "policy": 24, "ipcache": 40}
"""Four pods are shared by the tests, DNS is the fifth."""


@pytest.fixture(scope="module")
def own(kubectl: str) -> Iterator[BareLab]:
    """A lab whose agent has small maps."""
    sizes = ",".join(f"{name}={rows}" for name, rows in SIZES.items())
    with bare_lab("f", kubectl, {"CILIA_MAP_SIZES": sizes}) as lab:
        yield lab


@pytest.fixture(scope="module")
def cast(own: BareLab) -> dict[str, Pod]:
    """A server that lets its client in and no stranger, and a pod of which much is asked."""
    names = ("server", "client", "stranger", "busy")
    pods = {name: own.connect(name, {"app": name}) for name in names}
    own.apply(
        "server", ingress("server", [{"fromEndpoints": [{"matchLabels": {"app": "client"}}]}])
    )
    wait_for("the policy is enforced", lambda: own.enforces("server", "ingress"))
    return pods


def ingress(app: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"endpointSelector": {"matchLabels": {"app": app}}, "ingress": rules}


def reaches(sender: Pod, receiver: Pod) -> bool:
    """Whether a new connection gets an answer; a refusal is one."""
    with netns.open_socket(sender.netns, socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(0.5)
        try:
            one.connect((receiver.v4, PORT))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
        return True


def errors(lab: BareLab, name: str) -> int:
    """What `cilia map list` counts."""
    maps = json.loads(lab.cilia("map", "list", "-o", "json").stdout)
    return next(int(one["errors"]) for one in maps if Path(one["path"]).name == name)


def trouble(lab: BareLab) -> str:
    """All that `cilia status` finds wrong; empty when it exits with 0."""
    done = lab.cilia("status", "--brief")
    assert done.returncode == (0 if done.stdout.strip() == "OK" else 1)
    return "" if done.returncode == 0 else done.stdout


def refused(lab: BareLab, name: str) -> float:
    """The metric that counts rows without room."""
    rows = json.loads(lab.cilia("metrics", "list", "-o", "json").stdout)
    (found,) = [
        one
        for one in rows
        if (one["name"], one["labels"]) == ("cilium_bpf_map_refused_total", {"map_name": name})
    ]
    return float(found["value"])


def told(lab: BareLab, policy: str) -> str:
    """What `kubectl describe` shows of a policy."""
    return lab.kubectl("describe", "cnp", policy).stdout


def last_words(lab: BareLab) -> str:
    return (lab.site.log / "node-1-agent.log").read_text()


@contextmanager
def full(lab: BareLab, cast: dict[str, Pod], name: str, spec: dict[str, Any]) -> Iterator[None]:
    """A policy of the busy pod that needs more rows than a map has."""
    before = errors(lab, name)
    assert reaches(cast["client"], cast["busy"])
    lab.apply("much", spec)
    try:
        wait_for(f"{name} is found full", lambda: f"map {name}" in trouble(lab))
        assert errors(lab, name) > before
        yield
    finally:
        lab.remove_policy("much")
    wait_for("there is room again", lambda: trouble(lab) == "")
    assert reaches(cast["client"], cast["busy"])


def test_a_full_policy_map_closes_what_found_no_room_and_nothing_else(
    own: BareLab, cast: dict[str, Pod]
) -> None:
    ports = [
        {"toPorts": [{"ports": [{"port": str(1000 + 3 * n), "protocol": "TCP"}]}]}
        for n in range(SIZES["policy"] + 6)
    ]
    with full(own, cast, "policy", ingress("busy", ports)):
        assert "map-sizes" in trouble(own)
        lines = own.cilia("status").stdout.splitlines()
        state = next(line.split() for line in lines if line.startswith("Cilium:"))
        # Failure is what a terminal shows in red.
        assert state[1:5] == ["Failure", "policy", "is", "not"]
        assert refused(own, "policy") > 0
        wait_for("the object tells it", lambda: "all 24 entries are in use" in told(own, "much"))
        assert "not enforced on node-1 by default/busy" in told(own, "much")
        assert "update map policy" in last_words(own)
        assert not reaches(cast["client"], cast["busy"])
        assert not reaches(cast["busy"], cast["client"])
        assert reaches(cast["client"], cast["server"])
        assert not reaches(cast["stranger"], cast["server"])


def test_a_full_ipcache_closes_what_found_no_room_and_nothing_else(
    own: BareLab, cast: dict[str, Pod]
) -> None:
    cidrs = [f"192.0.2.{n}/32" for n in range(SIZES["ipcache"])]
    with full(own, cast, "ipcache", ingress("busy", [{"fromCIDR": cidrs}])):
        assert "map-sizes" in trouble(own)
        assert not reaches(cast["client"], cast["busy"])
        assert reaches(cast["client"], cast["server"])
        assert not reaches(cast["stranger"], cast["server"])


def test_a_full_endpoint_map_refuses_the_next_pod_and_keeps_the_others(
    own: BareLab, cast: dict[str, Pod]
) -> None:
    own.create_pod("last", {"app": "last"})
    last, place = own.namespace()
    own.add("last", last, place)
    try:
        wait_for("it is found full", lambda: "endpoint" in trouble(own))
    except AssertionError as error:
        raise AssertionError(own.cilia("status", "--verbose").stdout) from error
    assert "map-sizes" in trouble(own)
    own.create_pod("one-more", {"app": "one-more"})
    container, path = own.namespace()
    done = own.plugin("ADD", container, path, "one-more")
    refusal = json.loads(done.stdout)
    assert done.returncode == 1
    assert refusal["code"] == 11
    assert f"all {SIZES['endpoint']} entries are in use" in refusal["msg"]
    assert "map endpoint" in refusal["msg"]
    assert "map-sizes" in refusal["msg"]
    assert errors(own, "endpoint") == 1
    assert "map endpoint" in last_words(own)
    status = own.plugin("STATUS", container, path, "one-more")
    assert json.loads(status.stdout)["code"] == 50
    assert reaches(cast["client"], cast["server"])
    assert not reaches(cast["stranger"], cast["server"])
    assert own.endpoint("one-more") == {}
    own.plugin("DEL", last, place, "last")
    wait_for("there is room again", lambda: trouble(own) == "")
    own.add("one-more", container, path)
    wait_for("it is open", lambda: own.endpoint("one-more")["status"]["state"] == "ready")
    own.plugin("DEL", container, path, "one-more")
    wait_for("it is gone", lambda: trouble(own) == "")
