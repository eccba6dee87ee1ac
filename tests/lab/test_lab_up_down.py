"""`cilia lab up`, `status`, `stop`, `start`, `down`, as typed."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cilia.lab import cgroup, commands, topology
from lab.running_lab import RunningLab, traces, wait_for


@pytest.fixture
def own(kubectl: str) -> Iterator[RunningLab]:
    """A lab of the test's own, which it may harm; not up yet."""
    running = RunningLab(f"u{os.getpid()}", kubectl)
    yield running
    running.lab("down")
    assert traces(running.name) == []


def status(lab: RunningLab) -> dict[str, Any]:
    return dict(json.loads(lab.lab("status", "-o", "json").stdout))


def pids(lab: RunningLab) -> dict[str, int | None]:
    return {one["name"]: one["pid"] for one in status(lab)["programs"]}


def test_up_again_is_quick_and_says_so(lab: RunningLab) -> None:
    before = pids(lab)
    done = lab.lab("up", "--demo", "starwars")
    assert done.returncode == 0, done.stderr
    assert "is up already" in done.stdout
    assert pids(lab) == before


def test_status_says_ready_and_kubeconfig_works(lab: RunningLab) -> None:
    done = lab.lab("status")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"lab {lab.name}: ready")
    path = lab.lab("kubeconfig").stdout.strip()
    assert Path(path).stat().st_mode & 0o077 == 0
    ready = lab.kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=30s")
    assert ready.returncode == 0, ready.stderr


def test_a_shell_knows_the_lab(lab: RunningLab) -> None:
    done = lab.lab(
        "shell", "--", "sh", "-c", "echo $KUBECONFIG; command -v cilium; command -v hubble"
    )
    path, *names = done.stdout.split()
    assert path == lab.lab("kubeconfig").stdout.strip()
    assert [Path(name).name for name in names] == ["cilium", "hubble"]


def test_a_program_that_dies_comes_back(lab: RunningLab) -> None:
    before = pids(lab)["controllers"]
    assert before
    os.kill(before, signal.SIGKILL)
    wait_for("another process", lambda: pids(lab)["controllers"] not in (None, before))
    wait_for("ready", lambda: bool(status(lab)["ready"]))


def test_a_stopped_program_stays_stopped_until_it_is_started(lab: RunningLab) -> None:
    assert lab.lab("stop", "controllers").returncode == 0
    assert pids(lab)["controllers"] is None
    refused = lab.lab("stop", "nothing")
    assert refused.returncode == 1
    assert "it has: apiserver" in refused.stderr
    assert lab.lab("start", "controllers").returncode == 0
    wait_for("running", lambda: pids(lab)["controllers"] is not None)


def test_a_second_supervisor_is_refused(lab: RunningLab) -> None:
    done = lab.lab("run")
    assert done.returncode == 1
    assert f"supervisor of lab {lab.name} runs already" in done.stderr


def test_a_lab_comes_back_after_its_supervisor_was_killed(own: RunningLab) -> None:
    assert own.lab("up").returncode == 0
    made = own.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    assert made.returncode == 0, made.stderr
    os.kill(int(status(own)["pid"]), signal.SIGKILL)
    wait_for("not running", lambda: not status(own)["running"])
    done = own.lab("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert own.json("get", "configmap", "kept")["data"] == {"a": "b"}


def test_a_lab_comes_back_after_a_reboot(own: RunningLab) -> None:
    assert own.lab("up", "--demo", "starwars").returncode == 0
    reboot(own.name)
    assert own.lab("status").returncode == 1
    done = own.lab("up")
    assert done.returncode == 0, done.stdout + done.stderr
    landing = "deathstar.default.svc.cluster.local/v1/request-landing"
    words = ("exec", "xwing", "--", "curl", "-s", "--max-time", "10", "-XPOST", landing)
    assert own.kubectl(*words).stdout.strip() == "Ship landed"


def reboot(name: str) -> None:
    """Takes away what a reboot takes: processes, namespaces, cgroups, pins and /run."""
    site = commands.open_site(name)
    cgroup.kill(site.cgroup)
    topology.remove(topology.present_namespaces(site))
    cgroup.remove(site.cgroup)
    shutil.rmtree(site.bpffs)
    shutil.rmtree(site.run)


def test_down_removes_a_lab_that_never_came_up(own: RunningLab) -> None:
    done = own.lab("up", "--timeout", "0.5")
    assert done.returncode == 1
    assert "is not ready after" in done.stderr
    gone = own.lab("down")
    assert gone.returncode == 0, gone.stderr
    assert f"lab {own.name} is gone" in gone.stdout
    assert traces(own.name) == []
    assert "nothing to remove" in own.lab("down").stdout


def test_an_unknown_demo_is_refused(own: RunningLab) -> None:
    done = own.lab("up", "--demo", "startrek")
    assert done.returncode == 1
    assert "no demo 'startrek'; there is: starwars" in done.stderr


def test_a_bad_name_is_refused() -> None:
    done = RunningLab("no-hyphens", "kubectl").lab("up")
    assert done.returncode == 1
    assert "lower-case letters and digits" in done.stderr
