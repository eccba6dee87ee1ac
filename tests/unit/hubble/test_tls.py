"""mTLS of the observer's port, with certificates of an authority of the test's own."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import msgspec
import pytest

from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.server.listener import HubblePort
from cilia.hubble.tls import (
    CertificateError,
    TlsFiles,
    channel_credentials,
    dial_options,
    node_server_name,
    read_pems,
)
from unit.hubble.made_servers import DEADLINE_S, api_of, certificates, running, store_of

NAME = node_server_name("node-1", "default")
Talk = Callable[[int], Awaitable[None]]


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return certificates(tmp_path / "tls", "node-1", [NAME])


@pytest.fixture
def client(tmp_path: Path) -> TlsFiles:
    return certificates(tmp_path / "tls", "relay", ["relay.hubble-relay.cilium.io"])


def serving(folder: Path, tls: TlsFiles | None, talk: Talk) -> None:
    """Serves two flows on a port while a client talks."""

    async def run() -> None:
        port = HubblePort("127.0.0.1:0", tls, api_of(store_of(1, 2), folder / "h.sock").server)
        async with asyncio.timeout(DEADLINE_S), running(port):
            while not port.port:
                await asyncio.sleep(0.001)
            await talk(port.port)

    asyncio.run(run())


async def flows(port: int, credentials: grpc.ChannelCredentials | None, name: str = NAME) -> int:
    """How many flows a client gets."""
    where, options = f"127.0.0.1:{port}", dial_options(name)
    channel = (
        grpc.aio.insecure_channel(where)
        if credentials is None
        else grpc.aio.secure_channel(where, credentials, options)
    )
    async with channel:
        call = ObserverStub(channel).GetFlows(observer_pb2.GetFlowsRequest(), wait_for_ready=False)
        count = len([response async for response in call])
        header = dict(await call.initial_metadata() or ())
        assert header["hubble-server-version"] == "0.1.0"
        return count


async def refused(port: int, credentials: grpc.ChannelCredentials | None, name: str = NAME) -> bool:
    try:
        await flows(port, credentials, name)
    except grpc.aio.AioRpcError as error:
        return error.code() == grpc.StatusCode.UNAVAILABLE
    return False


def test_only_clients_with_a_certificate_of_the_authority_get_flows(
    tmp_path: Path, files: TlsFiles, client: TlsFiles
) -> None:
    strange = certificates(tmp_path / "strange", "relay", ["relay"])
    nobody = msgspec.structs.replace(client, certificate="", key="")
    liar = msgspec.structs.replace(strange, authorities=client.authorities)

    async def talk(port: int) -> None:
        assert await flows(port, channel_credentials(client)) == 2
        assert await refused(port, None)
        assert await refused(port, channel_credentials(nobody))
        assert await refused(port, channel_credentials(liar))

    serving(tmp_path, files, talk)


def test_a_client_refuses_another_name_and_another_authority(
    tmp_path: Path, files: TlsFiles, client: TlsFiles
) -> None:
    strange = certificates(tmp_path / "strange", "relay", ["relay"])
    doubter = msgspec.structs.replace(client, authorities=strange.authorities)

    async def talk(port: int) -> None:
        assert await refused(port, channel_credentials(client), node_server_name("node-2", ""))
        assert await refused(port, channel_credentials(doubter))

    serving(tmp_path, files, talk)


def agreed_version(port: int, client: TlsFiles, most: ssl.TLSVersion) -> str | None:
    context = ssl.create_default_context(cafile=client.authorities[0])
    context.maximum_version = most
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(client.certificate, client.key)
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname=NAME) as wrapped,
    ):
        return wrapped.version()


SERVER = """
import importlib, pathlib, sys
importlib.import_module("cilia.hubble.grpc_environment").set_grpc_environment()
module = importlib.import_module("unit.hubble.test_tls")
files = module.TlsFiles(sys.argv[1], sys.argv[2], (sys.argv[3],))
async def say(port):
    print(port, flush=True)
    await module.asyncio.to_thread(sys.stdin.read)
module.serving(pathlib.Path(sys.argv[1]).parent, files, say)
"""


def test_tls_1_2_is_refused(files: TlsFiles, client: TlsFiles) -> None:
    """In a process of its own, for gRPC reads once what it may agree on."""
    command = [sys.executable, "-c", SERVER, files.certificate, files.key, *files.authorities]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        assert agreed_version(port, client, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            agreed_version(port, client, ssl.TLSVersion.TLSv1_2)
        server.communicate()


def test_new_certificates_count_from_the_next_connection_on(
    tmp_path: Path, files: TlsFiles, client: TlsFiles
) -> None:
    """A whole new authority: the old client is refused, a broken file changes nothing."""
    fresh = certificates(tmp_path / "fresh", "node-1", [NAME])
    fresh_client = certificates(tmp_path / "fresh", "relay", ["relay"])

    async def talk(port: int) -> None:
        old = channel_credentials(client)
        assert await flows(port, old) == 2
        Path(files.certificate).write_text("not a certificate")
        assert await flows(port, old) == 2
        for source, target in zip(fresh.paths(), files.paths(), strict=True):
            partial = target.with_suffix(".new")
            partial.write_bytes(source.read_bytes())
            partial.replace(target)
        assert await flows(port, channel_credentials(fresh_client)) == 2
        assert await refused(port, old)

    serving(tmp_path, files, talk)


def test_the_port_opens_when_the_certificates_come(
    tmp_path: Path, client: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "tls"
    late = TlsFiles(str(folder / "late.crt"), str(folder / "late.key"), client.authorities)

    async def run() -> None:
        api = api_of(store_of(1), tmp_path / "hubble.sock")
        port = HubblePort("127.0.0.1:0", late, api.server)
        async with asyncio.timeout(DEADLINE_S), running(port):
            while not caplog.records:
                await asyncio.sleep(0.001)
            assert not port.port
            certificates(folder, "late", [NAME])
            while not port.port:
                await asyncio.sleep(0.01)
            assert await flows(port.port, channel_credentials(client)) == 1

    asyncio.run(run())
    assert "late.crt" in str(caplog.records[0].__dict__["why"])


def test_without_tls_any_client_is_answered_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(port: int) -> None:
        assert await flows(port, None) == 2

    serving(tmp_path, None, talk)
    assert "any client is answered here" in caplog.messages


@pytest.fixture
def pair(tmp_path: Path) -> tuple[TlsFiles, TlsFiles]:
    folder = tmp_path / "pair"
    return certificates(folder, "a", ["a"]), certificates(folder, "b", ["b"])


def test_files_that_do_not_fit_are_named(pair: tuple[TlsFiles, TlsFiles]) -> None:
    one, other = pair
    with pytest.raises(CertificateError, match=r"a\.crt.*key"):
        read_pems(msgspec.structs.replace(one, key=other.key))
    with pytest.raises(CertificateError, match="nowhere"):
        read_pems(msgspec.structs.replace(one, authorities=("/nowhere.pem",)))
    assert read_pems(one).authorities
