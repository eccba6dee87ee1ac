"""The stock `hubble` of Cilium 1.19.4 speaks to our observer, and prints what ours prints."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import land

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cilia"
STOCK = CACHE / "hubble-v1.19.4"
ALL_FIELDS = "--use-default-field-masks=false"
"""By default it leaves out fields, and writes UNKNOWN for them."""
JSON = ("-o", "json")
LOOKS = (
    (),
    ("-o", "dict"),
    ("-o", "table"),
    ("--color", "always", "--print-node-name", "--print-policy-names", "--numeric"),
)
FILTERS = (
    "--to-pod deathstar",
    "--service deathstar",
    "--workload Deployment/deathstar --not --protocol udp",
    "--namespace default --type trace:to-endpoint --tcp-flags syn,ack",
)


class Both:
    """The stock tool and ours, asked the same."""

    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab
        self.until = ""
        """The time of the last flow that both are asked for: more come all the time."""
        self._server = f"unix:///run/cilia/lab/{lab.name}/nodes/node-1/hubble.sock"

    def stock(self, *words: str) -> str:
        done = subprocess.run(
            [STOCK, *words, "--server", self._server], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ours(self, *words: str) -> str:
        done = self._lab.cilia("hubble", *words, "--server", self._server)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def both(lab: RunningLab) -> Both:
    """Both, after a ship has landed."""
    if not STOCK.exists():
        pytest.skip("no stock hubble here: tools/stock_hubble builds it in some minutes")
    tools = Both(lab)
    assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
    calls = ("observe", "--type", "trace-sock", "--to-pod", "deathstar", "--last", "1", *JSON)
    wait_for("the landing is seen", lambda: bool(tools.stock(*calls)))
    tools.until = json.loads(tools.stock(*calls))["time"]
    return tools


def test_flows_read_alike(both: Both) -> None:
    only = ("observe", "--last", "200", "--until", both.until)
    for look in LOOKS:
        assert both.ours(*only, *look) == both.stock(*only, *look, ALL_FIELDS), look
    for text in FILTERS:
        words = (*only, *text.split())
        assert both.ours(*words) == both.stock(*words, ALL_FIELDS), text


def test_messages_are_alike(both: Both) -> None:
    only = ("observe", "--last", "200", "--until", both.until, *JSON)
    ours, stock = (
        [json.loads(line) for line in asked(*only).splitlines()]
        for asked in (both.ours, both.stock)
    )
    assert ours == stock
    assert any("destination_service" in one["flow"] for one in ours)


def test_questions_about_the_server_are_answered(both: Both) -> None:
    assert both.ours("status").splitlines()[0] == both.stock("status").splitlines()[0]
    for words in (("list", "namespaces"), ("list", "namespaces", "-o", "json")):
        assert both.ours(*words) == both.stock(*words)
    assert "default/node-1" in both.stock("list", "nodes")
    events = both.stock("observe", "agent-events", "--last", "3")
    assert events == both.ours("observe", "agent-events", "--last", "3")
