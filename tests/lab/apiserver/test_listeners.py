"""Where the server listens, and whom it knows."""

import os
import socket
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from cilia.lab.apiserver.config import Listener
from cilia.lab.apiserver.listener import open_listener, url
from lab.apiserver.client import Client, context
from lab.apiserver.process import ApiServerProcess


@pytest.fixture
def netns() -> Iterator[str]:
    name = f"ct-{os.getpid()}-api"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


def test_a_listener_lives_in_the_namespace_that_it_names(netns: str) -> None:
    made = open_listener(Listener("127.0.0.1", 0, f"/run/netns/{netns}"))
    port = made.getsockname()[1]
    here = socket.socket()
    try:
        with pytest.raises(ConnectionRefusedError):
            here.connect(("127.0.0.1", port))
        inside = subprocess.run(
            ["ip", "netns", "exec", netns, "ss", "-Hltn"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"127.0.0.1:{port}" in inside.stdout
    finally:
        here.close()
        made.close()


def test_a_namespace_that_is_not_there_is_named() -> None:
    with pytest.raises(OSError, match="/run/netns/ct-nowhere"):
        open_listener(Listener("127.0.0.1", 0, "/run/netns/ct-nowhere"))


def test_urls_put_ipv6_in_brackets() -> None:
    made = open_listener(Listener("::1", 0))
    try:
        assert url(made) == f"https://[::1]:{made.getsockname()[1]}"
    finally:
        made.close()


def test_a_bearer_token_is_as_good_as_a_certificate(own: ApiServerProcess) -> None:
    state = own.folder / "state"
    state.mkdir()
    (state / "tokens.json").write_bytes(msgspec.json.encode({"secret": "robot"}))
    own.start()
    client = Client(own, certificate=False)
    try:
        assert client.raw("GET", "/api/v1/pods")[0] == 401
        client.token = "wrong"
        assert client.raw("GET", "/api/v1/pods")[0] == 401
        client.token = "secret"
        assert client.raw("GET", "/api/v1/pods")[0] == 200
        review = client.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
        assert review["status"]["userInfo"]["username"] == "robot"
    finally:
        client.close()
    assert context(own).cert_store_stats()["x509_ca"] == 1
