"""The programs of the images: servers, and our small curl against them."""

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.images.programs import curl, deathstar, json_mock, nc, nslookup, web, wget
from cilia.lab.images.programs.http_client import Url
from cilia.lab.images.programs.web import Request, Response


def _serve(handler: web.Handler) -> Iterator[int]:
    listener = web.listen(0)
    thread = threading.Thread(target=web.accept, args=(listener, handler))
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@pytest.fixture
def station() -> Iterator[int]:
    yield from _serve(deathstar.answer)


@pytest.fixture
def mock() -> Iterator[int]:
    yield from _serve(json_mock.answer)


@pytest.fixture
def mirror() -> Iterator[int]:
    def answer(request: Request) -> Response:
        if request.path == "/moved":
            return Response("elsewhere", 302)
        shown = sorted(f"{k}={v}" for k, v in request.headers.items())
        return Response(f"{request.method} {request.target}\n{shown}\n{request.body.decode()}")

    yield from _serve(answer)


def _out(capfd: pytest.CaptureFixture[str]) -> str:
    """What a program printed, without the servers' own lines."""
    lines = capfd.readouterr().out.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("127.0.0.1 "))


def test_the_walk(station: int, capfd: pytest.CaptureFixture[str]) -> None:
    base = f"127.0.0.1:{station}/v1"
    assert curl.main(["-s", "-XPOST", f"{base}/request-landing"]) == 0
    assert _out(capfd) == "Ship landed\n"
    assert curl.main(["-s", "-XPUT", f"{base}/exhaust-port"]) == 0
    assert _out(capfd).startswith("Panic: deathstar exploded\n\ngoroutine 1 [running]:\n")
    assert curl.main(["-s", f"{base}/"]) == 0
    assert "/v1/request-landing" in _out(capfd)
    assert curl.main(["-s", "-o", "/dev/null", "-w", "%{http_code}", f"{base}/nowhere"]) == 0
    assert _out(capfd) == "404"
    assert curl.main(["-s", "-o", "/dev/null", "-w", "%{http_code}", f"{base}/cargobay"]) == 0
    assert _out(capfd) == "405"


def test_json_mock_asks_for_authorization(mock: int, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{mock}"
    assert curl.main(["-sf", f"{url}/auth-header-required"]) == 22
    assert curl.main(["-sf", "-H", "Authorization: me", f"{url}/auth-header-required"]) == 0
    capfd.readouterr()
    assert curl.main(["-s", f"{url}/client-ip"]) == 0
    assert '"client-ip": "127.0.0.1"' in _out(capfd)


def test_both_families_are_served(mock: int) -> None:
    assert curl.main(["-s", "-4", f"http://localhost:{mock}/"]) == 0
    assert curl.main(["-s", "-g", f"http://[::1]:{mock}/"]) == 0


def test_a_connection_serves_several_requests(mock: int) -> None:
    with socket.create_connection(("127.0.0.1", mock)) as channel:
        channel.sendall(b"GET /public HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        channel.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert channel.makefile("rb").read().count(b"HTTP/1.1 200 OK") == 3


def test_a_request_that_is_none_is_refused(mock: int) -> None:
    with socket.create_connection(("127.0.0.1", mock)) as channel:
        channel.sendall(b"nonsense\r\n\r\n")
        assert channel.makefile("rb").read().startswith(b"HTTP/1.1 400 ")


def test_curl_sends_data_and_headers(mirror: int, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{mirror}/a?b=c"
    assert curl.main(["-s", "-d", "x=1", "-d", "y=2", "-H", "X-Test: t", "-A", "me", url]) == 0
    said = _out(capfd)
    assert said.startswith("POST /a?b=c\n")
    assert said.endswith("\nx=1&y=2")
    for header in ("x-test=t", "user-agent=me", "content-type=application/x-www-form-urlencoded"):
        assert header in said


def test_curl_head_shows_headers_only(mirror: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert curl.main(["-sI", f"http://127.0.0.1:{mirror}/"]) == 0
    said = _out(capfd)
    assert said.startswith("HTTP/1.1 200 OK\r\n")
    assert said.endswith("\r\n\r\n")


def test_curl_exit_codes(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{bound.getsockname()[1]}"
        assert curl.main(["-s", place]) == 7
        assert curl.main(["-sS", "--retry", "2", "--retry-delay", "0", "--retry-connrefused",
                          place]) == 7  # fmt: skip
        bound.listen(0)
        assert curl.main(["-sS", "-m", "0.05", place]) == 28
    assert curl.main(["-s", "http://no-such-name.invalid/"]) == 6
    assert curl.main(["--bogus", "x"]) == 2
    assert curl.main([]) == 2
    assert curl.main(["ftp://x/"]) == 1
    err = capfd.readouterr().err
    assert "curl: (7) Failed to connect to 127.0.0.1" in err
    assert "curl: (28)" in err


def test_wget_prints_or_says_why(mock: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert wget.main(["-qO-", f"http://127.0.0.1:{mock}/public"]) == 0
    assert "public information" in _out(capfd)
    assert wget.main(["-q", "-O", "-", f"http://127.0.0.1:{mock}/none"]) == 8
    assert wget.main(["-qO-", "http://no-such-name.invalid/"]) == 4


def test_nc_probes_a_port(mock: int) -> None:
    assert nc.main(["-z", "-w", "2", "127.0.0.1", str(mock)]) == 0
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert nc.main(["-z", "-w2", "127.0.0.1", str(bound.getsockname()[1])]) == 1


def test_nslookup(capfd: pytest.CaptureFixture[str]) -> None:
    assert nslookup.main(["localhost"]) == 0
    assert "Name:\tlocalhost" in capfd.readouterr().out
    assert nslookup.main(["no-such-name.invalid"]) == 1


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("deathstar.default.svc.cluster.local/v1/x", "deathstar.default.svc.cluster.local", 80,
         "/v1/x"),
        ("http://[fd00::1]:8080/a?b#c", "fd00::1", 8080, "/a?b"),
        ("https://me:pw@example.org", "example.org", 443, "/"),
        ("http://example.org?x=1", "example.org", 80, "/?x=1"),
    ],
)  # fmt: skip
def test_urls(text: str, host: str, port: int, target: str) -> None:
    url = Url(text)
    assert (url.host, url.port, url.target) == (host, port, target)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_a_command_line_is_parsed_or_refused(words: list[str]) -> None:
    try:
        options = curl.parse(words)
    except curl.Usage:
        return
    assert all(options.values.values())
