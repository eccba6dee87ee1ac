"""`observe --input-file`: flows from a file, selected, filtered, counted."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf.json_format import MessageToJson

from cilia.cli.errors import ClientError
from cilia.cli.hubble.top import KEYS
from cilia.cli.program import cilia
from unit.cli.hubble.made_flows import CLOSED, WEB, answer, dropped, made

FLOWS = [
    made(time="2026-09-21T14:13:20Z", uuid="0", node_labels=["zone=a"]),
    made(time="2026-09-21T14:13:21Z", uuid="1", node_name="east/node-b", is_reply=True),
    dropped(time="2026-09-21T14:13:22Z", uuid="2", ingress_denied_by=[CLOSED]),
    made(
        time="2026-09-21T14:13:23Z",
        uuid="3",
        IP={"source": "192.0.2.7", "destination": "10.0.0.1", "ipVersion": "IPv4"},
        l4={"UDP": {"source_port": 53, "destination_port": 40000}},
        source={"identity": 2},
        source_names=["dns.example.org"],
        destination=WEB
        | {"workloads": [{"name": "web", "kind": "Deployment"}], "labels": ["k8s:app=web"]},
        traffic_direction="INGRESS",
    ),
]

Shown = Callable[..., list[str]]


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """The lines of `observe --input-file` with more words."""
    path = tmp_path / "flows.json"
    lines = [
        MessageToJson(answer(flow), preserving_proto_field_name=True, indent=None) for flow in FLOWS
    ]
    path.write_text("\n".join(lines) + "\n\n")

    def run(*words: str) -> list[str]:
        done = CliRunner().invoke(cilia, ["hubble", "observe", "--input-file", str(path), *words])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output.splitlines()

    return run


def uuids(lines: list[str]) -> str:
    return "".join(json.loads(line)["flow"]["uuid"] for line in lines)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), "0123"),
        (("--last", "2"), "23"),
        (("--first", "1"), "0"),
        (("--all",), "0123"),
        (("--since", "2026-09-21T14:13:21Z"), "123"),
        (("--until", "2026-09-21T14:13:21Z"), "01"),
        (("--verdict", "DROPPED"), "2"),
        (("--not", "--verdict", "DROPPED"), "013"),
        (("-t", "drop"), "2"),
        (("-t", "trace:to-endpoint"), "013"),
        (("--drop-reason-desc", "POLICY_DENIED"), "2"),
        (("--pod", "shop/web"), "0123"),
        (("--pod", "web"), ""),
        (("--from-pod", "/web"), "012"),
        (("-n", "shop", "--last", "1"), "3"),
        (("--ip", "192.0.2.0/24"), "3"),
        (("--from-ip", "10.0.0.1"), "012"),
        (("--port", "53"), "3"),
        (("--to-port", "8080"), "012"),
        (("--protocol", "udp"), "3"),
        (("--tcp-flags", "syn"), "012"),
        (("--tcp-flags", "syn,ack"), ""),
        (("--identity", "world"), "3"),
        (("--from-fqdn", "*.example.org"), "3"),
        (("--to-workload", "Deployment/web"), "3"),
        (("--traffic-direction", "ingress"), "3"),
        (("--node-name", "east/"), "1"),
        (("--node-name", "node-a"), "023"),
        (("-4",), "0123"),
        (("-6",), ""),
        (("--uuid", "0", "--uuid", "2"), "02"),
        (("--allowlist", '{"reply":[false]}'), "023"),
        (("--denylist", '{"reply":[false]}'), "1"),
        (("--to-label", "app=web"), "3"),
        (("--not", "--label", "app"), "012"),
        (("--node-label", "zone=a"), "0"),
        (("--cel-expression", "_flow.verdict == Verdict.DROPPED || has(_flow.l4.UDP)"), "23"),
        (("--protocol", "tcp", "--not", "--uuid", "1", "--last", "1"), "2"),
    ],
)
def test_selected(shown: Shown, words: tuple[str, ...], wanted: str) -> None:
    assert uuids(shown("-o", "json", *words)) == wanted


def test_lines_with_reasons(shown: Shown) -> None:
    (line,) = shown("--verdict", "DROPPED", "--why")
    assert line.endswith("| closed by CiliumNetworkPolicy shop/rule1 (cnp/shop/rule1:2)")


def test_top(shown: Shown) -> None:
    lines = shown("--top", "2", "--by", "verdict,policy")
    assert [line.split() for line in lines] == [
        ["FLOWS", "SHARE", "VERDICT", "POLICY"],
        ["3", "75.0%", "FORWARDED", "-"],
        ["1", "25.0%", "DROPPED", "CiliumNetworkPolicy", "shop/rule1"],
    ]
    assert len(shown("--top", "1")) == 2
    titles = shown("--top", "1", "--by", "workload,drop-reason,service")[0].split()
    assert titles[2:] == ["SOURCE-WORKLOAD", "DESTINATION-WORKLOAD", "REASON", "SERVICE"]
    assert len(shown("--top", "9", "--by", ",".join(KEYS))) == 5


def test_a_reply_counts_at_the_port_that_was_asked() -> None:
    asked, answered = made(), made(is_reply=True)
    answered.l4.TCP.source_port, answered.l4.TCP.destination_port = 8080, 40000
    assert {KEYS["port"](flow) for flow in (asked, answered)} == {"8080/TCP"}


def test_a_key_that_nobody_knows(shown: Shown) -> None:
    with pytest.raises(Exception, match="cannot count by frob"):
        shown("--top", "2", "--by", "frob")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--from-label", "a in b"), "filter source_label 'a in b'"),
        (("--cel-expression", "_flow.nope"), "undefined field 'nope'"),
    ],
)
def test_filters_that_make_no_sense_are_refused(
    shown: Shown, words: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ClientError, match=says):
        shown(*words)


def test_a_packed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flows.json.gz"
    path.write_bytes(gzip.compress(b"{}"))
    done = CliRunner().invoke(cilia, ["hubble", "observe", "--input-file", str(path)])
    assert isinstance(done.exception, ClientError)
    assert "is no text" in str(done.exception)


def test_a_line_that_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text("{}\nnonsense\n")
    done = CliRunner().invoke(cilia, ["hubble", "observe", "--input-file", str(path)])
    assert "line 2 is no event" in str(done.exception)


HEAVY = """
import sys
from cilia.cli.program import main
try:
    main(sys.argv[1:])
except SystemExit:
    print([name for name in ("grpc", "numpy", "yaml") if name in sys.modules])
"""


@pytest.mark.parametrize(
    "words", [("--help",), ("observe", "--help"), ("observe", "--print-raw-filters"), ("version",)]
)
def test_what_calls_nobody_loads_no_grpc(words: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAVY, "hubble", "--config", str(tmp_path / "none"), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
