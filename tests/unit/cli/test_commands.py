"""Commands against an agent that answers from a dictionary, over a real unix socket."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cilia.cli.commands.endpoint import enforcement
from cilia.cli.errors import ClientError
from cilia.cli.program import cilia
from cilia.wire.http10 import decode_answer

Run = Callable[..., Result]

ENDPOINT = {
    "id": 101,
    "status": {
        "state": "ready",
        "identity": {"id": 21001, "labels": ["k8s:class=deathstar", "k8s:org=empire"]},
        "networking": {"addressing": [{"ipv4": "10.0.1.11", "ipv6": "fd00:10::11"}]},
        "external-identifiers": {"pod-name": "default/deathstar-1", "container-id": "c" * 64},
        "policy": {"realized": {"policy-enabled": "ingress", "policy-revision": 3}},
    },
}
CONNECTION = {
    "protocol": "TCP",
    "source": "fd00::1",
    "source-port": 40000,
    "destination": "fd00::2",
    "destination-port": 80,
    "expires": 12,
    "packets": [3, 2],
    "bytes": [300, 200],
    "tcp-flags": [0x1B, 0x12],
    "flags": ["SEEN_REPLY"],
    "source-identity": 21001,
    "destination-identity": 21002,
}
ANSWERS = {
    "/v1/endpoint": [ENDPOINT],
    "/v1/endpoint/101": ENDPOINT,
    "/v1/policy": {"revision": 3, "policy": "[]"},
    "/v1/bpf/ct": [CONNECTION],
    "/v1/bpf/metrics": [
        {"reason": "Policy denied", "code": 133, "direction": "INGRESS", "packets": 2, "bytes": 148}
    ],
    "/v1/metrics": [
        {"name": "cilium_drop_count_total", "value": 2.0, "labels": {"direction": "INGRESS"}}
    ],
    "/v1/healthz": {
        "cilium": {"state": "Ok", "msg": "0.1.0"},
        "kubernetes": {"state": "Failure", "msg": "connection refused"},
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            path = self.rfile.readline().split()[1].decode().partition("?")[0]
            answer = ANSWERS.get(path)
            status = "200 OK" if answer is not None else "404 Not Found"
            body = json.dumps(answer if answer is not None else {"error": f"no {path}"})
            self.wfile.write(f"HTTP/1.0 {status}\r\n\r\n{body}".encode())

    path = tmp_path / "cilia.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield lambda *words: CliRunner().invoke(cilia, ["-H", str(path), *words])
        server.shutdown()
        thread.join()


def test_endpoint_list_shows_enforcement_by_direction(run: Run) -> None:
    lines = run("endpoint", "list").output.splitlines()
    assert lines[0].split("   ")[0] == "ENDPOINT"
    assert lines[2].split()[:4] == ["101", "Enabled", "Disabled", "21001"]
    assert lines[3].split() == ["k8s:org=empire"]


def test_endpoint_list_wide_names_the_pod(run: Run) -> None:
    assert "default/deathstar-1" in run("endpoint", "list", "-o", "wide").output


def test_endpoint_get_is_always_an_array(run: Run) -> None:
    assert json.loads(run("endpoint", "get", "101").output)[0]["id"] == 101


def test_policy_revision_by_jsonpath(run: Run) -> None:
    assert run("policy", "get", "-o", "jsonpath={.revision}").output == "3\n"


def test_ct_list_brackets_ipv6(run: Run) -> None:
    output = run("bpf", "ct", "list").output
    assert "[fd00::1]:40000 -> [fd00::2]:80" in output
    assert "Packets=3/2" in output


def test_what_programs_counted_is_a_row_a_reason(run: Run) -> None:
    titles, row = run("bpf", "metrics", "list").output.splitlines()
    assert titles.split() == ["REASON", "DIRECTION", "PACKETS", "BYTES"]
    assert row.split() == ["Policy", "denied", "INGRESS", "2", "148"]


def test_metrics_are_chosen_by_a_pattern(run: Run) -> None:
    assert "direction=INGRESS   2.000000" in run("metrics", "list", "-p", "^cilium_drop").output
    assert json.loads(run("metrics", "list", "-o", "json").output)[0]["value"] == 2
    assert "no metric matches" in str(run("metrics", "list", "-p", "nothing").exception)
    assert "no regular expression" in str(run("metrics", "list", "-p", "(").exception)


def test_status_exits_1_when_a_part_is_down(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 1
    assert "connection refused" in result.output


def test_status_brief_is_the_first_trouble(run: Run) -> None:
    assert run("status", "--brief").output == "kubernetes: connection refused\n"


def test_an_error_of_the_agent_is_passed_on(run: Run) -> None:
    result = run("identity", "get", "7")
    assert isinstance(result.exception, ClientError)
    assert "no /v1/identity/7" in result.exception.message


def test_no_agent_is_a_clear_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(cilia, ["-H", str(tmp_path / "gone.sock"), "node", "list"])
    assert isinstance(result.exception, ClientError)
    assert "cannot reach the agent" in result.exception.message


@pytest.mark.parametrize(
    ("enabled", "ingress", "egress"),
    [
        ("none", "Disabled", "Disabled"),
        ("ingress", "Enabled", "Disabled"),
        ("both", "Enabled", "Enabled"),
        ("audit-both", "Disabled (Audit)", "Disabled (Audit)"),
        ("", "Unknown", "Unknown"),
    ],
)
def test_enforcement_words(enabled: str, ingress: str, egress: str) -> None:
    assert enforcement(enabled, "ingress") == ingress
    assert enforcement(enabled, "egress") == egress


def test_an_answer_that_is_not_http_is_refused() -> None:
    with pytest.raises(ValueError, match="HTTP"):
        decode_answer(b"hello there\r\n\r\n")
