"""Settings: which place wins, and what a bad value says."""

from pathlib import Path

import msgspec
import pytest

from cilia.runtime.settings import SettingsError, load_settings, render_settings


class Some(msgspec.Struct, frozen=True):
    enable_ipv4: bool = True
    mtu: int = 1500
    cluster_name: str = "default"
    devices: tuple[str, ...] = ()
    map_sizes: dict[str, int] = {}


def test_later_places_win_and_each_value_knows_its_place(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"mtu": 1400, "cluster-name": "file"}')
    sourced = load_settings(
        Some,
        file=file,
        environment={
            "CILIA_CLUSTER_NAME": "environment",
            "CILIA_DEVICES": "a,b",
            "CILIA_MAP_SIZES": "policy=64,ipcache=32",
            "HOME": "/",
        },
        flags=["--enable-ipv4=false", "--cluster-name", "flag"],
    )
    sizes = {"policy": 64, "ipcache": 32}
    assert sourced.values == Some(False, 1400, "flag", ("a", "b"), sizes)
    assert render_settings(sourced) == {
        "enable-ipv4": (False, "flag"),
        "mtu": (1400, f"file {file}"),
        "cluster-name": ("flag", "flag"),
        "devices": (("a", "b"), "environment"),
        "map-sizes": (sizes, "environment"),
    }


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--mtu=much"], "mtu"),
        (["--map-sizes=policy"], "map-sizes"),
        (["--map-sizes=policy=many"], "map-sizes"),
        (["--colour=red"], "known are: cluster-name"),
        (["mtu"], "write --name=value"),
        (["--mtu"], "has no value"),
        (["--mtu", "--enable-ipv4=true"], "has no value"),
    ],
)
def test_a_bad_flag_says_which_and_what(flags: list[str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings(Some, flags=flags)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"mtu": "1400x"}', '{"mtu": null}', "\xff"])
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match=r"settings\.json"):
        load_settings(Some, file=file)
