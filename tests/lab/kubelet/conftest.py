"""Fixtures: a node's network and folders, and a kubelet on it."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cilia.lab.kubelet.shim import linux
from cilia.lab.site import find_cgroup2
from lab.kubelet.harness import Lab, leftovers


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A node without a kubelet yet; whatever the test leaves is checked and removed."""
    if os.geteuid() != 0:
        pytest.fail("needs root: it makes namespaces")
    root = find_cgroup2(Path("/proc/self/mountinfo").read_text())
    assert root is not None, "cgroup v2 is not mounted"
    name = f"ct-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    cgroup = root / name
    subprocess.run(["ip", "netns", "add", name], check=True)
    for command in (
        "addr add 192.0.2.1/32 dev lo",
        "addr add 169.254.1.1/32 dev lo",
        "link set lo up",
    ):
        subprocess.run(["ip", "-n", name, *command.split()], check=True)
    made = Lab(tmp_path, cgroup, f"/run/netns/{name}")
    yield made
    for path, _, _ in os.walk(cgroup, topdown=False):
        kill = Path(path) / "cgroup.kill"
        if kill.exists():
            kill.write_text("1")
    deadline = time.monotonic() + 10
    while cgroup.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for path, _, _ in os.walk(cgroup, topdown=False):
                os.rmdir(path)
    subprocess.run(["ip", "netns", "del", name], check=True)
    for record in (made.run / "pods").glob("*/sandbox.json"):
        netns = json.loads(record.read_text())["attachment"]["netns"]
        if netns and os.path.exists(netns):
            subprocess.run(["ip", "netns", "del", os.path.basename(netns)], check=False)
    shutil.rmtree(made.run, ignore_errors=True)


Scenario = Callable[[Lab], Awaitable[None]]


@pytest.fixture
def play(lab: Lab) -> Callable[[Scenario], None]:
    """Runs a scenario with a kubelet on the node; afterwards no pod may have left a trace."""

    async def run(scenario: Scenario) -> None:
        await lab.start()
        try:
            await scenario(lab)
            for path in [path for path in lab.api.objects if "/pods/" in path]:
                await lab.delete_pod(path.rpartition("/")[2], grace=1)
            await lab.wait(lambda: not leftovers(lab), "nothing left")
        finally:
            await lab.stop()

    def begin(scenario: Scenario) -> None:
        # A thread of its own, in the node's network: plugins and probes work from there.
        def within() -> None:
            linux.enter(lab.config.site.netns or "", linux.CLONE_NEWNET)
            asyncio.run(asyncio.wait_for(run(scenario), 90))

        with ThreadPoolExecutor(1) as pool:
            pool.submit(within).result()

    return begin
