"""Debian's Prometheus beside a lab: it scrapes every node, and answers questions."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.running_lab import wait_for

PORTS = {"cilia-agent": 9962, "cilia-hubble": 9965}
ADDRESS = "127.0.0.1:9090"
RULES = Path(__file__).parents[2] / "deploy/prometheus/rules.yaml"


class Prometheus:
    """A running one, in the network namespace of a lab's bridge."""

    def __init__(self, namespace: str) -> None:
        self._inside = ["ip", "netns", "exec", namespace]

    def get(self, url: str, *words: str) -> str:
        """What `curl` gets from a URL on the underlay; empty when there is no answer."""
        command = [*self._inside, "curl", "-sS", "--max-time", "10", *words, url]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def ask(self, path: str, **query: str) -> Any:
        """`data` of one of Prometheus's API answers; None when there is none."""
        words = [
            word
            for name, value in query.items()
            for word in ("--data-urlencode", f"{name}={value}")
        ]
        answer = self.get(f"http://{ADDRESS}/api/v1/{path}", "--get", *words)
        return json.loads(answer)["data"] if answer.startswith("{") else None

    def values(self, query: str) -> dict[tuple[tuple[str, str], ...], float]:
        """What a query finds now: values by labels, those of the target left out."""
        data = self.ask("query", query=query) or {"result": []}
        return {
            tuple(
                sorted(
                    (name, value)
                    for name, value in one["metric"].items()
                    if name not in ("__name__", "instance", "job")
                )
            ): float(one["value"][1])
            for one in data["result"]
        }


@contextmanager
def prometheus(namespace: str, folder: Path, node: str) -> Iterator[Prometheus]:
    """Runs one over a node's two targets and our rules; it ends with the block.

    Args:
        namespace: Network namespace to run in.
        folder: For its configuration and data.
        node: Address of the node.
    """
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [f"{node}:{port}"]}]}
        for job, port in PORTS.items()
    ]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = ["ip", "netns", "exec", namespace, "prometheus"]
    command += [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address={ADDRESS}", "--log.level=warn"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"GOMAXPROCS": "1"}
        ) as process,
    ):
        try:
            running = Prometheus(namespace)
            wait_for("Prometheus answers", lambda: running.ask("targets") is not None)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
