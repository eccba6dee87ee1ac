"""The plugin script: what it sends, what it prints, and how little it imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.cni import plugin
from cilia.cni.install import CONFIGURATION, PLUGIN, install
from cilia.cni.plugin import Refusal
from cilia.endpoint.cni import VERSIONS, decode_raw
from cilia.model.site import NodeSite


def site(folder: Path) -> NodeSite:
    return NodeSite(
        name="n", netns=None, bpffs=folder, cgroup=folder, state=folder, run=folder / "run"
    )


@given(st.text(max_size=30), st.text(max_size=30), st.dictionaries(st.text(), st.integers()))
def test_what_it_sends_is_what_the_agent_reads(
    container: str, args: str, config: dict[str, int]
) -> None:
    environment = {"CNI_CONTAINERID": container, "CNI_ARGS": args}
    request = plugin.encode_request("ADD", json.dumps(config).encode(), environment)
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/cni/add HTTP/1.0\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    raw = decode_raw(body)
    # A name that is no UTF-8 cannot come back as it went; nothing else changes.
    assert (raw.container_id, raw.args, raw.config) == (container, args, config)


PLAIN = st.text(st.characters(codec="ascii", exclude_characters='"\\\0'), max_size=20)
VALUES = st.recursive(
    st.integers() | st.text(max_size=12) | st.just("socket"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.just("socket"), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(PLAIN, st.dictionaries(st.text(max_size=8), VALUES, max_size=4), st.booleans())
def test_the_socket_is_the_one_that_a_json_parser_finds(
    name: str, others: dict[str, object], indent: bool
) -> None:
    config = {**others, "socket": f"/{name}"}
    text = json.dumps(config, indent=2 if indent else None).encode()
    plain = text.count(b'"socket"') == 1 and "\\" not in json.dumps(name)
    try:
        found = plugin.socket_path(text)
    except Refusal:
        found = ""
    assert found == (config["socket"] if plain else "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", 6),
        (b"[]", 6),
        (b"null", 6),
        (b'{"socket": 5}', 7),
        (b'{"socket": "relative"}', 7),
        (b'{"socket": "/a", "socket": "/b"}', 7),
        (b'{"socket": "/a\\u0000"}', 7),
        (b'{"socket"', 7),
    ],
)
def test_what_is_no_configuration(text: bytes, code: int) -> None:
    with pytest.raises(Refusal) as caught:
        plugin.socket_path(text)
    assert caught.value.code == code


def test_the_usual_socket_when_none_is_named() -> None:
    assert plugin.socket_path(b'{"name": "cilia"}') == "/run/cilia/cilia.sock"


@pytest.mark.parametrize(
    ("answer", "succeeded", "output"),
    [
        (b'HTTP/1.1 200 OK\r\nX: y\r\n\r\n{"a": 1}', True, b'{"a": 1}'),
        (b'HTTP/1.1 400 Bad\r\n\r\n{"code": 4}', False, b'{"code": 4}'),
    ],
)
def test_answers(answer: bytes, succeeded: bool, output: bytes) -> None:
    assert plugin.decode_answer(answer) == (succeeded, output)


@pytest.mark.parametrize("answer", [b"", b"garbage", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n\r\nhello"])
def test_an_answer_that_is_none(answer: bytes) -> None:
    with pytest.raises(Refusal, match="not to be understood"):
        plugin.decode_answer(answer)
    with pytest.raises(Refusal, match="the agent refused"):
        plugin.decode_answer(b'HTTP/1.1 404 Not Found\r\n\r\n{"error": "x"}')


def run(folder: Path, command: str, text: bytes) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "CNI_COMMAND": command}
    program = [str(folder / PLUGIN)]
    return subprocess.run(program, input=text, env=environment, capture_output=True, check=False)


def test_installed_it_runs_alone(tmp_path: Path) -> None:
    install(site(tmp_path), tmp_path / "bin", tmp_path / "net.d")
    content = json.loads((tmp_path / "net.d" / CONFIGURATION).read_text())
    assert content["plugins"][0]["type"] == PLUGIN
    text = json.dumps({"cniVersion": "1.1.0", **content["plugins"][0]}).encode()
    assert json.loads(run(tmp_path / "bin", "VERSION", b"").stdout)["supportedVersions"] == list(
        VERSIONS
    )
    add = run(tmp_path / "bin", "ADD", text)
    assert (add.returncode, json.loads(add.stdout)["code"]) == (1, 11)
    assert str(tmp_path / "run/cilia.sock") in json.loads(add.stdout)["msg"]
    for hostile in (text, b"", b"{", b"\xff"):
        assert run(tmp_path / "bin", "DEL", hostile).returncode == 0
        assert run(tmp_path / "bin", "DEL", hostile).stdout == b""
    assert json.loads(run(tmp_path / "bin", "EAT", text).stdout)["code"] == 4
    names = [path.name for folder in ("bin", "net.d") for path in (tmp_path / folder).iterdir()]
    assert names == [PLUGIN, CONFIGURATION]


def test_it_imports_next_to_nothing() -> None:
    folder = str(Path(plugin.__file__).parent)
    code = (
        f"import sys; before = set(sys.modules); sys.path.insert(0, {folder!r}); "
        "import plugin; print(*(set(sys.modules) - before))"
    )
    output = subprocess.run(
        [sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert set(output.split()) <= {"plugin", "_json", "_socket"}
