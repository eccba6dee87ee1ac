"""The ways to a server: through kubectl, through a port of ours, with TLS of any kind."""

import asyncio
import atexit
import contextlib
import os
import socket
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from cilia.cli.errors import ClientError
from cilia.cli.hubble.connection import Observer, Target
from cilia.cli.hubble.forwarding import Cluster, forwarded
from cilia.cli.hubble.gateway import serve
from cilia.cli.program import cilia
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import (
    ObserverServicer,
    add_ObserverServicer_to_server,
)
from unit.hubble.made_servers import certificates

KUBECTL = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *jsonpath*) echo {port} ;;
  *port-forward*) {forward} ;;
esac
"""
DEADLINE_S = 30
NAME = "node-1.default.hubble-grpc.cilium.io"


def fake_kubectl(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, port: str = "80", forward: str
) -> Path:
    """A kubectl that keeps the words it gets; the path of where it does."""
    log, bin_folder = folder / "words", folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    script = bin_folder / "kubectl"
    script.write_text(KUBECTL.format(log=log, port=port, forward=forward))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    return log


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is put off until the process ends is done when the test does."""
    with contextlib.ExitStack() as stack:
        monkeypatch.setattr(atexit, "register", stack.callback)
        yield


@pytest.mark.usefixtures("ends")
def test_kubectl_leads_to_the_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = 'echo "Forwarding from 127.0.0.1:4246 -> 4245"'
    log = fake_kubectl(tmp_path, monkeypatch, forward=line)
    assert forwarded(Cluster("a.yaml", "east", "hubble"), 4246) == "localhost:4246"
    asked, led = log.read_text().splitlines()
    where = "--kubeconfig a.yaml --context east --namespace hubble"
    assert asked.startswith(f"{where} get service/hubble-relay")
    assert led == f"{where} port-forward service/hubble-relay 4246:80"


@pytest.mark.usefixtures("ends")
def test_what_kubectl_cannot_do_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_kubectl(tmp_path, monkeypatch, forward="echo 'unable to listen' >&2; exit 1")
    with pytest.raises(ClientError, match="forwards no port: unable to listen"):
        forwarded(Cluster(), 0)
    fake_kubectl(tmp_path, monkeypatch, port="''", forward="true")
    with pytest.raises(ClientError, match="no service/hubble-relay in namespace kube-system"):
        forwarded(Cluster(), 0)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ClientError, match="kubectl is not installed"):
        forwarded(Cluster(), 0)


def test_a_port_leads_to_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "hubble.sock"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    async def scene() -> bytes:
        told: asyncio.Queue[str] = asyncio.Queue()
        server = await asyncio.start_unix_server(answer, str(path))
        running = asyncio.create_task(serve(path, 0, told.put_nowait))
        async with server, asyncio.timeout(DEADLINE_S):
            port = int((await told.get()).rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            writer.write_eof()
            answered = await reader.read()
            writer.close()
        running.cancel()
        return answered

    assert asyncio.run(scene()) == b"HELLO"


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ClientError, match="cannot listen on port"):
            asyncio.run(serve(tmp_path / "x", taken.getsockname()[1], print))


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    refused = CliRunner().invoke(cilia, ["hubble", "record"])
    assert isinstance(refused.exception, ClientError)
    assert "not captured" in refused.exception.message
    run = CliRunner().invoke(cilia, ["--host", str(tmp_path / "cilia.sock"), "hubble", "disable"])
    assert isinstance(run.exception, ClientError)
    assert "not ours to stop" in run.exception.message


def test_debug_says_where_it_connects(tmp_path: Path) -> None:
    words = ["--host", str(tmp_path / "cilia.sock"), "hubble", "-D", "observe"]
    run = CliRunner().invoke(cilia, words)
    assert f"debug: connecting to unix://{tmp_path}/hubble.sock" in run.output


class Status(ObserverServicer):
    """Answers one question."""

    def ServerStatus(self, request: object, context: object) -> observer_pb2.ServerStatusResponse:
        return observer_pb2.ServerStatusResponse(seen_flows=7)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with TLS, made out to a node: its address, and the authority's file."""
    files = certificates(tmp_path / "tls", "node-1", [NAME])
    pair = (Path(files.key).read_bytes(), Path(files.certificate).read_bytes())
    server = grpc.server(futures.ThreadPoolExecutor(1))
    add_ObserverServicer_to_server(Status(), server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    yield f"tls://127.0.0.1:{port}", Path(files.authorities[0])
    server.stop(None).wait()


def test_a_server_is_known_by_its_authority_and_name(secured: tuple[str, Path]) -> None:
    address, authority = secured
    known = Target(address, ca_files=(str(authority),), server_name=NAME)
    observer = Observer(known)
    assert observer.status().seen_flows == 7
    observer.close()
    with pytest.raises(ClientError, match="cannot reach"):
        Observer(Target(address, ca_files=(str(authority),), dial_s=0.3))


def test_any_certificate_is_trusted_where_that_is_wanted(secured: tuple[str, Path]) -> None:
    observer = Observer(Target(secured[0], trusts_all=True))
    assert observer.status().seen_flows == 7
    observer.close()


def test_a_server_without_tls_has_no_certificate_to_trust() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"tls://localhost:{nobody.getsockname()[1]}"
        with pytest.raises(ClientError, match="cannot get the certificate of localhost"):
            Observer(Target(address, trusts_all=True, dial_s=1))


def test_short_words_are_known() -> None:
    for words in (["list", "node"], ["w", "peer"], ["list", "namespace"]):
        assert CliRunner().invoke(cilia, ["hubble", *words, "--help"]).exit_code == 0
