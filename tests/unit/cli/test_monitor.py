"""What `cilia monitor` asks for and how it shows what it gets."""

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cilia.cli.commands import monitor as command
from cilia.cli.commands.monitor import TYPES
from cilia.cli.program import cilia
from cilia.hubble import monitor as served

RECORD = bytes(range(32, 57))
DROP = {
    "time": "2026-09-21T14:13:20.000000001Z",
    "type": "drop",
    "subtype": "Policy denied",
    "flow": "0x1",
    "source": {"ip": "10.0.0.1", "port": 4, "identity": 7, "labels": ["k8s:a=b"], "endpoint": 3},
    "destination": {"ip": "10.0.0.2", "port": 80, "identity": 8, "labels": [], "endpoint": 0},
    "protocol": "tcp",
    "tcp_flags": "SYN",
    "ifindex": 12,
    "interface": "lxc1",
    "file": "pod.bpf.c:9",
    "policies": [],
    "raw": RECORD.hex(),
    "packet": b"GET /".hex(),
}
NEWS = {
    "time": "2026-09-21T14:13:21.000000001Z",
    "type": "agent",
    "subtype": "POLICY_UPDATED",
    "message": {"revision": "5"},
}
CALL = DROP | {"type": "trace-sock", "subtype": "pre-xlate-fwd", "raw": "", "packet": ""}
EVENTS = (DROP, NEWS, CALL, {"type": "lost", "cpu": 1, "lost": 4})


def shown(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Result, Any]:
    """The result of a command, and the filters that it sent."""
    path = folder / "monitor.sock"
    asked: list[Any] = []

    def serve(listener: socket.socket) -> None:
        conn, _ = listener.accept()
        with conn, conn.makefile("rb") as lines:
            asked.append(json.loads(lines.readline()))
            for event in ({"type": "listening", "cpus": 2, "ring_bytes": 8192}, *EVENTS):
                conn.sendall(json.dumps(event).encode() + b"\n")

    monkeypatch.setattr(command, "followed", command.events)  # ends with the stream
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        done = CliRunner().invoke(cilia, ["monitor", "--monitor-socket", str(path), *words])
        server.join()
    assert done.exit_code == 0, done.output
    return done, asked[0]


def test_both_sides_know_the_same_types() -> None:
    assert (served.TYPES, served.SILENT) == (TYPES, command.SILENT)


def test_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, asked = shown(tmp_path, monkeypatch)
    assert not any(asked.values())
    lines = done.stdout.splitlines()
    assert lines[0] == "Listening for events on 2 CPUs with 2x4096 of shared memory"
    assert lines[2].startswith("xx drop (Policy denied) flow 0x1")
    assert lines[3] == '>> POLICY_UPDATED: {"revision": "5"}'
    assert lines[4] == "pre-xlate-fwd tcp identity 7->8: 10.0.0.1:4 -> 10.0.0.2:80"
    assert lines[5] == "CPU 01: Lost 4 events"


def test_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "-t drop -t agent --from 1 --to 2 --related-to 3 --interface lxc1 --hex"
    _, asked = shown(tmp_path, monkeypatch, *words.split())
    assert asked == {
        "types": ["drop", "agent"],
        "from": [1],
        "to": [2],
        "related": [3],
        "interfaces": ["lxc1"],
        "raw": True,
    }


def test_more_words_with_every_v(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, _ = shown(tmp_path / "", monkeypatch, "-v")
    assert "10.0.0.1:4 -> 10.0.0.2:80 tcp SYN [k8s:a=b]" in done.stdout
    assert "\n  " not in done.stdout


def test_every_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, _ = shown(tmp_path, monkeypatch, "-vv")
    for line in ("  source.ip: 10.0.0.1", "  interface: lxc1", '  source.labels: ["k8s:a=b"]'):
        assert line in done.stdout.splitlines()
    assert "destination.labels" not in done.stdout


def test_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, _ = shown(tmp_path, monkeypatch, "--hex")
    assert done.stdout.splitlines()[2:8] == [
        "2026-09-21T14:13:20.000000001Z drop, record of 25 bytes",
        "00000000  20 21 22 23 24 25 26 27  28 29 2a 2b 2c 2d 2e 2f  | !\"#$%&'()*+,-./|",
        "00000010  30 31 32 33 34 35 36 37  38                       |012345678|",
        "packet, first 5 bytes",
        "00000000  47 45 54 20 2f                                    |GET /|",
        "2026-09-21T14:13:21.000000001Z agent " + json.dumps(NEWS),
    ]


def test_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, _ = shown(tmp_path, monkeypatch, "-j")
    assert tuple(map(json.loads, done.stdout.splitlines())) == EVENTS


def test_what_nothing_reports_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, _ = shown(tmp_path, monkeypatch, "-t", "capture", "-t", "l7", "-t", "drop")
    assert done.stderr.splitlines()[0] == "nothing reports capture, l7 events yet"


@pytest.mark.parametrize("words", ["-v", "-vv", "-j"])
def test_text_of_others_is_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    evil = "k8s:a=\x1b[2J\x9b1m"
    side = {"ip": "10.0.0.1", "identity": 7, "labels": [evil], "pod": evil}
    monkeypatch.setattr(sys.modules[__name__], "EVENTS", (DROP | {"source": side},))
    done, _ = shown(tmp_path, monkeypatch, words)
    assert "[2J" in done.stdout
    assert done.stdout.replace("\n", "").isprintable()
