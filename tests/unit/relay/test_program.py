"""What the relay can be told, and what it says to those who ask."""

from pathlib import Path

import pytest

from cilia.model.errors import CiliaError
from cilia.relay.program import main, peer_source, read_settings, spelled_out


def test_settings_come_from_a_file_and_flags(tmp_path: Path) -> None:
    file = tmp_path / "relay.json"
    file.write_text('{"listen-address": ":5", "tls-hubble-server-ca-files": ["a", "b"]}')
    settings = read_settings(
        ["--config", str(file), "--disable-server-tls", "--sort-buffer-drain-timeout", "250ms"]
    )
    assert settings.listen_address == ":5"
    assert settings.server_tls() is None
    tls = settings.client_tls()
    assert tls is not None
    assert tls.authorities == ("a", "b")


@pytest.mark.parametrize(
    "words", [["--retry-timeout=soon"], ["--sort-buffer-len-max=0"], ["--listen=:1"]]
)
def test_wrong_settings_are_named(words: list[str]) -> None:
    with pytest.raises(CiliaError, match=words[0].removeprefix("--").partition("=")[0]):
        read_settings(words)


def test_switches_may_stand_alone() -> None:
    assert spelled_out(["--disable-client-tls", "--socket=/r"]) == [
        "--disable-client-tls=true",
        "--socket=/r",
    ]


def test_the_peer_service_has_a_name_only_beyond_this_machine() -> None:
    assert peer_source(read_settings([])).server_name == ""
    remote = peer_source(read_settings(["--peer-service=10.0.0.1:4244"]))
    assert remote.server_name == "hubble-peer.default.hubble-grpc.cilium.io"


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    main(["serve", "--help"])
    assert "--sort-buffer-len-max=100" in capsys.readouterr().out
    main(["version"])
    assert capsys.readouterr().out.startswith("hubble-relay v")
    with pytest.raises(SystemExit):
        main([])
