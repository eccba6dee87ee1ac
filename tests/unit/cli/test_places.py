"""Which node a command talks to."""

from pathlib import Path

import pytest

from cilia.cli.errors import ClientError
from cilia.cli.places import run_folder


def node(run: Path, lab: str, name: str) -> Path:
    folder = run / "lab" / lab / "nodes" / name
    folder.mkdir(parents=True)
    return folder


def test_this_machines_own_agent_comes_first(tmp_path: Path) -> None:
    node(tmp_path, "lab", "node-1")
    (tmp_path / "cilia.sock").touch()
    assert run_folder(None, None, tmp_path) == tmp_path


def test_the_only_lab_is_found_whatever_its_name(tmp_path: Path) -> None:
    folder = node(tmp_path, "mine", "node-1")
    assert run_folder(None, None, tmp_path) == folder


def test_among_several_labs_the_default_one_is_taken(tmp_path: Path) -> None:
    node(tmp_path, "a", "node-1")
    folder = node(tmp_path, "lab", "node-1")
    assert run_folder(None, None, tmp_path) == folder


def test_a_named_node_of_a_named_lab(tmp_path: Path) -> None:
    node(tmp_path, "a", "node-1")
    folder = node(tmp_path, "a", "node-2")
    assert run_folder("a", "node-2", tmp_path) == folder


def test_nothing_running_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(ClientError) as caught:
        run_folder(None, None, tmp_path)
    assert "cilia lab up" in caught.value.remedy


def test_a_wrong_name_lists_what_there_is(tmp_path: Path) -> None:
    node(tmp_path, "a", "node-1")
    with pytest.raises(ClientError) as caught:
        run_folder("a", "node-7", tmp_path)
    assert "a/node-1" in caught.value.remedy
