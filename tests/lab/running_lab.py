"""A lab as its user sees it: commands, and what they print."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Done = subprocess.CompletedProcess[str]

DEADLINE_S = 60.0
POLL_S = 0.05


class RunningLab:
    """One lab, spoken to through stock kubectl and our own commands."""

    def __init__(self, name: str, kubectl: str) -> None:
        self.name = name
        self._kubectl = kubectl

    @property
    def environment(self) -> dict[str, str]:
        """What `cilia lab shell` would set."""
        kubeconfig = f"/var/lib/cilia/lab/{self.name}/kubeconfig"
        return os.environ | {"KUBECONFIG": kubeconfig, "CILIA_LAB": self.name}

    def lab(self, *words: str, timeout_s: float = 180) -> Done:
        """`cilia lab WORD --name THIS …`."""
        return self._run(
            [*cilia_command(), "lab", words[0], "--name", self.name, *words[1:]], timeout_s
        )

    def cilia(self, *words: str, timeout_s: float = 60) -> Done:
        """`cilia …`."""
        return self._run([*cilia_command(), *words], timeout_s)

    def kubectl(self, *words: str, text: str = "", timeout_s: float = 60) -> Done:
        """`kubectl …`, with `text` as its standard input."""
        return self._run([self._kubectl, *words], timeout_s, text)

    def json(self, *words: str) -> Any:
        """What `kubectl … -o json` prints."""
        done = self.kubectl(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def endpoints(self) -> dict[str, Any]:
        """`cilia endpoint list -o json` by namespace/name of the pod."""
        done = self.cilia("endpoint", "list", "-o", "json")
        assert done.returncode == 0, done.stderr
        found = {}
        for entry in json.loads(done.stdout):
            who = entry["status"].get("external-identifiers") or {}
            found[who.get("pod-name") or f"endpoint {entry['id']}"] = entry
        return found

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """`cilia …`, running beside the test; its output is a pipe."""
        return subprocess.Popen(
            [*cilia_command(), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment | {"PYTHONUNBUFFERED": "1"},
        )

    def _run(self, command: list[str], timeout_s: float, text: str = "") -> Done:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout_s,
            check=False,
        )


def cilia_command() -> list[str]:
    """How tests call `cilia`."""
    return [sys.executable, "-P", "-m", "cilia"]


def wait_for(what: str, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Waits until something is true."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"after {deadline_s} s still not: {what}"
        time.sleep(POLL_S)


def traces(name: str) -> list[str]:
    """Everything that a lab of this name has left on the machine."""
    mounts = Path("/proc/self/mountinfo").read_text().split()
    found = [str(path) for path in Path("/run/netns").glob(f"cilia-{name}-*")]
    found += [point for point in mounts if f"/cilia/lab/{name}/" in point]
    places = ["/var/lib/cilia/lab", "/run/cilia/lab", "/sys/fs/bpf/cilia"]
    places += ["/sys/fs/cgroup/cilia", "/sys/fs/cgroup/unified/cilia"]
    found += [path for place in places if os.path.exists(path := f"{place}/{name}")]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(f"/cilia/lab/{name}/" in word for word in words) or words[-2:-1] == [name]:
            found.append(f"process {folder.name}: {' '.join(words)}")
    return found
