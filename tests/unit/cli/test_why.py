"""`cilia why` from words and events to a question, and from an answer to text."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import click
import pytest
from click.testing import CliRunner, Result

from cilia.cli.commands.why import answer_lines, event_query, split_target
from cilia.cli.program import cilia

RULE = {"text": "CiliumNetworkPolicy default/rule1 spec"}
CHANGE = {
    "action": "add",
    "kind": "CiliumNetworkPolicy",
    "namespace": "default",
    "name": "rule1",
    "path": "spec.ingress[0].fromEndpoints",
    "value": {"matchLabels": {"org": "alliance"}},
}
ANSWER = {
    "answer": "DENIED by CiliumNetworkPolicy default/rule1: closes ingress",
    "allowed": False,
    "from": "default/xwing",
    "to": "default/deathstar-1 (10.0.1.3)",
    "port": "80",
    "protocol": "TCP",
    "service": "default/deathstar 10.96.0.5:80 leads to 10.0.1.3:80",
    "steps": [
        {
            "direction": "egress",
            "subject": "default/xwing",
            "peer": "default/deathstar-1",
            "allowed": True,
            "verdict": "not-enforced",
            "rules": [],
        },
        {
            "direction": "ingress",
            "subject": "default/deathstar-1",
            "peer": "default/xwing",
            "allowed": False,
            "verdict": "default-deny",
            "rules": [RULE],
        },
    ],
    "changes": [CHANGE],
    "notes": ["the kernel is not in step"],
}
EVENT = {
    "type": "drop",
    "source": {"ip": "10.0.1.1", "port": 40000, "identity": 1001, "pod": "default/xwing"},
    "destination": {"ip": "10.0.1.3", "port": 80, "identity": 1003, "pod": ""},
    "protocol": "TCP",
    "icmp": "",
}


@pytest.fixture
def asked() -> list[dict[str, str]]:
    return []


@pytest.fixture
def run(tmp_path: Path, asked: list[dict[str, str]]) -> Iterator[Callable[..., Result]]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            url = urlsplit(self.rfile.readline().split()[1].decode())
            asked.append({"path": url.path, **dict(parse_qsl(url.query))})
            self.wfile.write(f"HTTP/1.0 200 OK\r\n\r\n{json.dumps(ANSWER)}".encode())

    path = tmp_path / "cilia.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield lambda *words, **more: CliRunner().invoke(
            cilia, ["-H", str(path), "why", *words], **more
        )
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("deathstar", {"to": "deathstar"}),
        ("deathstar:80", {"to": "deathstar", "port": "80"}),
        ("ns/deathstar:http/TCP", {"to": "ns/deathstar", "port": "http", "protocol": "TCP"}),
        ("1.1.1.1:53/UDP", {"to": "1.1.1.1", "port": "53", "protocol": "UDP"}),
        ("fd00::1", {"to": "fd00::1"}),
        ("[fd00::1]", {"to": "fd00::1"}),
        ("[fd00::1]:443", {"to": "fd00::1", "port": "443"}),
        ("k8s:app=web", {"to": "k8s:app=web"}),
        ("k8s:app=web,k8s:tier=a:80", {"to": "k8s:app=web,k8s:tier=a", "port": "80"}),
        ("reserved:host", {"to": "reserved:host"}),
        ("reserved:host:22", {"to": "reserved:host", "port": "22"}),
        ("10.0.0.0/8", {"to": "10.0.0.0/8"}),
        ("1003:8/ICMP", {"to": "1003", "port": "8", "protocol": "ICMP"}),
    ],
)
def test_a_target_is_taken_apart(text: str, query: dict[str, str]) -> None:
    assert split_target(text) == query


def test_the_first_line_is_the_answer(
    run: Callable[..., Result], asked: list[dict[str, str]]
) -> None:
    lines = run("xwing", "deathstar:80").output.splitlines()
    assert lines[0] == ANSWER["answer"]
    assert asked == [{"path": "/v1/why", "from": "xwing", "to": "deathstar", "port": "80"}]
    assert lines[1:] == [
        "  default/xwing -> default/deathstar-1 (10.0.1.3) 80/TCP",
        "  service default/deathstar 10.96.0.5:80 leads to 10.0.1.3:80",
        "  egress of default/xwing to default/deathstar-1: allowed: no policy closes it",
        (
            "  ingress of default/deathstar-1 from default/xwing: DENIED: closed, and no rule "
            "allows it"
        ),
        "    closed by CiliumNetworkPolicy default/rule1 spec",
        "  note: the kernel is not in step",
        "  to allow it:",
        (
            "    add to CiliumNetworkPolicy default/rule1 spec.ingress[0].fromEndpoints: "
            '{"matchLabels": {"org": "alliance"}}'
        ),
    ]


def test_json_is_the_agents_answer(run: Callable[..., Result]) -> None:
    assert json.loads(run("xwing", "deathstar:80", "-o", "json").output) == ANSWER


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"action": "delete"}, ["    delete CiliumNetworkPolicy default/rule1"]),
        ({"action": "remove", "namespace": "", "path": "spec.ingress[0]"},
         ["    remove from CiliumNetworkPolicy rule1 spec.ingress[0]"]),
        ({"action": "apply", "value": {"kind": "A", "spec": {"a": [1]}}},
         ["    apply:", "      kind: A", "      spec:", "        a:", "        - 1"]),
    ],
)  # fmt: skip
def test_changes_are_written_as_one_would_do_them(
    change: dict[str, object], lines: list[str]
) -> None:
    answer = {**ANSWER, "changes": [CHANGE | change]}
    assert answer_lines(answer)[-len(lines) :] == lines


def test_an_event_of_the_monitor_is_a_question(
    run: Callable[..., Result], asked: list[dict[str, str]]
) -> None:
    wanted = {"from": "default/xwing", "to": "10.0.1.3", "port": "80", "protocol": "TCP"}
    assert run("--event", json.dumps(EVENT)).exit_code == 0
    assert run("--event", "-", input=json.dumps(EVENT) + "\n").exit_code == 0
    assert asked == [{"path": "/v1/why", **wanted}] * 2


def test_a_reply_is_about_the_connection_it_answers() -> None:
    query = event_query(json.dumps({**EVENT, "type": "trace", "reason": "reply"}))
    assert (query["from"], query["to"], query["port"]) == ("10.0.1.3", "default/xwing", "40000")


def test_an_icmp_event_asks_for_its_type() -> None:
    event = {**EVENT, "protocol": "icmp", "icmp": "type 8 code 0"}
    query = event_query(json.dumps(event))
    assert (query["port"], query["protocol"]) == ("8", "icmp")


@pytest.mark.parametrize("text", ["", "{}", "[1]", "xwing", '{"type": "lost", "cpu": 1}'])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="one line of `cilia monitor -o json`"):
        event_query(text)


def test_words_that_are_missing_are_asked_for(run: Callable[..., Result]) -> None:
    result = run("xwing")
    assert result.exit_code == 2
    assert "cilia why xwing deathstar:80" in result.output
