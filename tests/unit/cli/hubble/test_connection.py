"""The commands against a server of our own making, over a real unix socket."""

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf.json_format import MessageToDict

from cilia.cli.errors import ClientError
from cilia.cli.hubble.selection import field_mask
from cilia.cli.program import cilia
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import (
    ObserverServicer,
    add_ObserverServicer_to_server,
)
from unit.cli.hubble.made_flows import answer, dropped, made

Run = Callable[..., Result]


class Server(ObserverServicer):
    """Keeps the requests it gets."""

    def __init__(self) -> None:
        self.flow_requests: list[observer_pb2.GetFlowsRequest] = []
        self.metadata: dict[str, Any] = {}

    def GetFlows(self, request: Any, context: Any) -> Any:
        self.flow_requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        yield from (answer(made()), answer(dropped()))

    def GetNamespaces(self, request: Any, context: Any) -> Any:
        found = [observer_pb2.Namespace(cluster="east", namespace="shop")]
        return observer_pb2.GetNamespacesResponse(namespaces=found)

    def GetNodes(self, request: Any, context: Any) -> Any:
        there = observer_pb2.Node(
            name="a", state=1, uptime_ns=3_723 * 10**9, num_flows=1, max_flows=4, seen_flows=3_723
        )  # fmt: skip
        return observer_pb2.GetNodesResponse(nodes=[there, observer_pb2.Node(name="b", state=2)])


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """`cilia hubble …` that finds that server by itself, beside the agent's socket."""
    listener = grpc.server(futures.ThreadPoolExecutor(2))
    add_ObserverServicer_to_server(server, listener)  # type: ignore[no-untyped-call]  # generated
    listener.add_insecure_port(f"unix:{tmp_path}/hubble.sock")
    listener.start()
    monkeypatch.setenv("CILIA_SOCK", str(tmp_path / "cilia.sock"))
    monkeypatch.setenv("HUBBLE_CONFIG", str(tmp_path / "config.yaml"))
    yield lambda *words: CliRunner().invoke(cilia, ["hubble", *words])
    listener.stop(None).wait()


def test_flows_are_asked_for_and_shown(run: Run, server: Server) -> None:
    done = run("observe", "--verdict", "DROPPED", "--not", "--pod", "a", "--last", "3")
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) == 2
    (request,) = server.flow_requests
    asked = MessageToDict(request.whitelist[0], preserving_proto_field_name=True)
    assert asked == {"verdict": ["DROPPED"]}
    assert [list(one.source_pod) for one in request.blacklist] == [["a"], []]
    assert (request.number, request.first, request.follow) == (3, False, False)
    assert list(request.field_mask.paths) == field_mask("compact")


def test_json_asks_for_all_and_times_arrive(run: Run, server: Server) -> None:
    words = ("--since", "2026-09-21T14:13:20.5Z", "--until", "2026-09-21T14:13:21Z")
    run("observe", "-o", "json", *words)
    run("observe", "--use-default-field-masks=false", "--first", "2")
    run("observe", "-o", "json", "--field-mask", "time,verdict")
    all_, first, some = server.flow_requests
    assert not all_.HasField("field_mask")
    assert all_.since.ToJsonString() == "2026-09-21T14:13:20.500Z"
    assert all_.until.ToJsonString() == "2026-09-21T14:13:21Z"
    assert (first.first, first.number, first.HasField("field_mask")) == (True, 2, False)
    assert list(some.field_mask.paths) == ["time", "verdict"]


def test_user_and_password(run: Run, server: Server) -> None:
    run("observe", "--basic-auth-username", "a", "--basic-auth-password", "b")
    assert server.metadata["authorization"] == "Basic YTpi"


def test_nodes_and_namespaces(run: Run) -> None:
    lines = run("list", "nodes", "-o", "wide").output.splitlines()
    assert lines[1].split() == [
        "a", "Connected", "1h2m3s", "1.00", "1/4", "(", "25.00%)", *["N/A"] * 3,
    ]  # fmt: skip
    assert lines[2].split() == ["b", "Unavailable", *["N/A"] * 6]
    assert run("list", "namespaces").output.split() == ["NAMESPACE", "shop"]
    wide = run("list", "namespaces", "-o", "wide").output.split()
    assert wide == ["NAMESPACE", "CLUSTER", "shop", "east"]


def test_what_a_server_does_not_do_is_said(run: Run) -> None:
    error = run("observe", "agent-events").exception
    assert isinstance(error, ClientError)
    assert "does not answer this" in error.message


def test_nobody_there(run: Run, tmp_path: Path) -> None:
    for address, told in (
        (f"unix://{tmp_path}/none.sock", "no observer at"),
        ("localhost:1", "0.2 s"),
    ):
        error = run("observe", "--server", address, "--timeout", "200ms").exception
        assert isinstance(error, ClientError)
        assert told in error.message
        assert error.remedy


def test_a_filter_that_is_none(run: Run) -> None:
    error = run("observe", "--allowlist", '{"frob":[1]}').exception
    assert isinstance(error, ClientError)
    assert "not a FlowFilter" in error.message


def test_settings_are_kept_and_used(run: Run, server: Server, tmp_path: Path) -> None:
    assert run("config", "set", "output", "dict").exit_code == 0
    assert run("config", "get", "output").output == "dict\n"
    assert "VERDICT: DROPPED" in run("observe").output
    assert "VERDICT: " not in run("observe", "-o", "compact").output
    assert run("config", "view").output == "output: dict\n"
    assert isinstance(run("config", "set", "frob", "1").exception, ClientError)
    assert run("config", "reset").exit_code == 0
    assert run("config", "view").output == "{}\n"
    assert (tmp_path / "config.yaml").read_text() == ""


def test_the_environment_gives_defaults(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBBLE_TIME_FORMAT", "YearMonthDay")
    assert run("observe").output.startswith("2026-09-21: ")
